// The arrays with packed ports, as a netlist has them: for synthesis, and for the bench that runs both.
module lane_array_unit
  import machine_pkg::*;
#(
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int TAP_LANES = 1,
    parameter int TAPS = 1,
    parameter int X_BITS = 8,
    parameter int ACC_BITS = 24,
    parameter int SKIP = 1,
    localparam int STREAMS = TAP_LANES * COLS
) (
    input logic clk,
    input logic rst,
    input logic start,
    input logic [STEP_WORDS*32-1:0] step,
    input logic [SETTINGS*32-1:0] settings,
    output logic done,
    output logic [24*STREAMS-1:0] count_at,
    input logic [32*STREAMS-1:0] count_word,
    output logic [24*STREAMS-1:0] record_at,
    input logic [32*STREAMS-1:0] record_word,
    output logic [16*STREAMS-1:0] index,
    output logic [15:0] operand_round,
    output logic [15:0] operand_taps,
    output logic round_ends,
    input logic [X_BITS*STREAMS*ROWS-1:0] operand,
    output logic write,
    output logic [15:0] write_round,
    output logic [15:0] write_filter,
    output logic [15:0] write_tap,
    output logic [ACC_BITS*STREAMS*ROWS-1:0] sum
);
  logic [23:0] counts_at[STREAMS], records_at[STREAMS];
  logic [31:0] counts[STREAMS], records[STREAMS];
  logic [15:0] indexes[STREAMS];
  logic signed [X_BITS-1:0] operands[STREAMS][ROWS];
  logic signed [ACC_BITS-1:0] sums[STREAMS][ROWS];
  always_comb begin
    for (int v = 0; v < STREAMS; v++) begin
      count_at[24*v+:24] = counts_at[v];
      record_at[24*v+:24] = records_at[v];
      index[16*v+:16] = indexes[v];
      counts[v] = count_word[32*v+:32];
      records[v] = record_word[32*v+:32];
      for (int i = 0; i < ROWS; i++) begin
        operands[v][i] = operand[X_BITS*(v*ROWS+i)+:X_BITS];
        sum[ACC_BITS*(v*ROWS+i)+:ACC_BITS] = sums[v][i];
      end
    end
  end
  lane_array #(
      .ROWS(ROWS),
      .COLS(COLS),
      .TAP_LANES(TAP_LANES),
      .TAPS(TAPS),
      .X_BITS(X_BITS),
      .ACC_BITS(ACC_BITS),
      .SKIP(SKIP)
  ) lanes (
      .clk, .rst, .start, .step, .settings, .done,
      .count_at(counts_at), .count_word(counts), .record_at(records_at), .record_word(records),
      .index(indexes), .operand_round, .operand_taps, .round_ends, .operand(operands),
      .window_ready(1'b1), .window_starts(), .next_round(), .next_window(), .operand_slot(),
      .write, .write_round, .write_filter, .write_tap, .sum(sums)
  );
endmodule

module weight_stationary_unit
  import machine_pkg::*;
#(
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int ACC_BITS = 24
) (
    input logic clk,
    input logic rst,
    input logic start,
    input logic [STEP_WORDS*32-1:0] step,
    input logic [SETTINGS*32-1:0] settings,
    output logic done,
    output logic [24*COLS-1:0] weight_at,
    input logic [8*COLS-1:0] weight,
    output logic [16*ROWS-1:0] row_channel,
    output logic [16*ROWS-1:0] row_r,
    output logic [16*ROWS-1:0] row_s,
    output logic [15:0] out_h,
    output logic [15:0] out_w,
    input logic [8*ROWS-1:0] pixel,
    output logic write,
    output logic write_first,
    output logic [31:0] write_position,
    output logic [15:0] write_filter,
    output logic [ACC_BITS*COLS-1:0] sum
);
  logic [23:0] weights_at[COLS];
  logic signed [7:0] weights[COLS], pixels[ROWS];
  logic [15:0] channels[ROWS], rs[ROWS], ss[ROWS];
  logic signed [ACC_BITS-1:0] sums[COLS];
  always_comb begin
    for (int j = 0; j < COLS; j++) begin
      weight_at[24*j+:24] = weights_at[j];
      weights[j] = weight[8*j+:8];
      sum[ACC_BITS*j+:ACC_BITS] = sums[j];
    end
    for (int i = 0; i < ROWS; i++) begin
      row_channel[16*i+:16] = channels[i];
      row_r[16*i+:16] = rs[i];
      row_s[16*i+:16] = ss[i];
      pixels[i] = pixel[8*i+:8];
    end
  end
  weight_stationary #(
      .ROWS(ROWS),
      .COLS(COLS),
      .ACC_BITS(ACC_BITS)
  ) array (
      .clk, .rst, .start, .step, .settings, .done, .weight_at(weights_at), .weight(weights),
      .row_channel(channels), .row_r(rs), .row_s(ss), .out_h, .out_w, .pixel(pixels),
      .write, .write_first, .write_last(), .write_position, .write_filter, .sum(sums)
  );
endmodule
