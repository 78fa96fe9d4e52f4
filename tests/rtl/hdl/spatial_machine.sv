// A spatial-domain machine: tile control, buffers, and an array of ROWS x COLS lanes.
//
// DATAFLOW 0, output-stationary: a row of lanes computes one output position, a column one filter (lane_array).
// DATAFLOW 1, weight-stationary: a column holds ROWS weights of one filter, positions stream past (weight_stationary).
// The buffers are behavioural arrays with as many ports as the lanes use: a weight port a column, an input port a lane.
module spatial_machine
  import machine_pkg::*;
#(
    parameter int DATAFLOW = 0,
    parameter int SKIP = 1,
    parameter int BANKS = 0,            // of operand windows, 0 without
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int BANDWIDTH = 8,
    parameter int ACC_BITS = 32,
    parameter int RAW_BITS = 48,
    parameter int IN_BYTES = 65536,   // of one slot
    parameter int W_BYTES = 65536,
    parameter int OUTPUTS = 65536
) (
    input logic clk,
    input logic rst,
    input logic go,
    input logic host_we,
    input logic [1:0] host_space,
    input logic [15:0] host_index,
    input logic [7:0] host_word,
    input logic [31:0] host_data,
    output logic finished,
    output logic compute_start,
    output logic compute_done,
    output logic transform_start,
    output logic transform_done,
    output logic inverse_start,
    output logic inverse_done,
    output logic beat,
    output logic [1:0] beat_kind,
    output logic [31:0] beat_address,
    output logic [31:0] beat_bytes,
    input logic [7:0] read_data[BANDWIDTH],
    output logic [7:0] write_data[BANDWIDTH],
    output logic signed [RAW_BITS-1:0] write_raw[BANDWIDTH]
);
  logic [SETTINGS-1:0][31:0] settings;
  logic [STEP_WORDS-1:0][31:0] step;
  logic beat_slot;
  logic [31:0] beat_offset;
  /* verilator lint_off PINCONNECTEMPTY */
  tile_control #(
      .BANDWIDTH(BANDWIDTH),
      .TRANSFORMS(0)
  ) control (
      .clk, .rst, .go, .host_we, .host_space, .host_index, .host_word, .host_data, .settings, .finished,
      .beat, .beat_kind, .beat_slot, .beat_address, .beat_offset, .beat_bytes,
      .transform_start, .compute_start, .inverse_start,
      .transform_done(1'b0), .compute_done, .inverse_done(1'b0),
      .transform_step(), .compute_step(step), .inverse_step(), .transform_slot(), .inverse_slot()
  );
  assign transform_done = 0;
  assign inverse_done = 0;

  // Buffers
  logic signed [7:0] inputs[2*IN_BYTES];
  logic [7:0] weights[2*W_BYTES];
  logic signed [ACC_BITS-1:0] outputs[2*OUTPUTS];
  logic [31:0] in_base, w_base, out_base;
  assign in_base = step[IN_INDEX][0] ? IN_BYTES : 0;
  assign w_base = step[W_INDEX][0] ? W_BYTES : 0;
  assign out_base = step[OUT_INDEX][0] ? OUTPUTS : 0;

  always_ff @(posedge clk) begin
    if (beat) begin
      for (int b = 0; b < BANDWIDTH; b++) begin
        if (b < beat_bytes) begin
          if (beat_kind == 0) inputs[(beat_slot ? IN_BYTES : 0)+beat_offset+b] <= read_data[b];
          if (beat_kind == 1) weights[(beat_slot ? W_BYTES : 0)+beat_offset+b] <= read_data[b];
        end
      end
    end
  end

  always_comb begin
    for (int b = 0; b < BANDWIDTH; b++) begin
      write_raw[b] = RAW_BITS'(outputs[(beat_slot ? OUTPUTS : 0)+beat_offset+b]);
    end
  end
  output_path #(
      .BANDWIDTH(BANDWIDTH),
      .BITS(RAW_BITS)
  ) path (
      .shift(settings[OUT_SHIFT][5:0]),
      .value(write_raw),
      .result(write_data)
  );

  if (DATAFLOW == 0) begin : output_stationary
    logic [23:0] count_at[COLS], record_at[COLS];
    logic [31:0] count_word[COLS], record_word[COLS];
    logic [15:0] index[COLS];
    logic [15:0] operand_round, operand_taps, write_round, write_filter, write_tap;
    logic round_ends, write;
    logic signed [7:0] operand[COLS][ROWS];
    logic signed [ACC_BITS-1:0] sum[COLS][ROWS];

    lane_array #(
        .ROWS(ROWS),
        .COLS(COLS),
        .X_BITS(8),
        .ACC_BITS(ACC_BITS),
        .SKIP(SKIP),
        .BANKS(BANKS)
    ) lanes (
        .clk, .rst, .start(compute_start), .step, .settings, .done(compute_done),
        .count_at, .count_word, .record_at, .record_word,
        .index, .operand_round, .operand_taps, .round_ends, .operand,
        .window_ready(1'b1), .window_starts(), .next_round(), .next_window(), .operand_slot(),
        .write, .write_round, .write_filter, .write_tap, .sum
    );

    function automatic logic [31:0] window(input logic [31:0] base, input logic [23:0] bit_at);
      logic [31:0] at;
      at = base + 32'(bit_at[23:3]);
      return 32'({weights[at+3], weights[at+2], weights[at+1], weights[at]} >> bit_at[2:0]);
    endfunction
    always_comb for (int j = 0; j < COLS; j++) count_word[j] = window(w_base, count_at[j]);
    always_comb for (int j = 0; j < COLS; j++) record_word[j] = window(w_base, record_at[j]);

    // Each row's output position, moved on by ROWS positions after each round.
    logic [15:0] row_h[ROWS], row_w[ROWS], start_h[ROWS], start_w[ROWS];
    logic [31:0] round_first;  // position of row 0
    always_comb begin
      start_h[0] = 0;
      start_w[0] = 0;
      for (int i = 1; i < ROWS; i++) begin
        start_h[i] = start_h[i-1];
        start_w[i] = start_w[i-1] + 1;
        if (32'(start_w[i]) == step[OUT_W]) begin
          start_w[i] = 0;
          start_h[i] = start_h[i-1] + 1;
        end
      end
    end
    always_ff @(posedge clk) begin
      if (compute_start) begin
        row_h <= start_h;
        row_w <= start_w;
        round_first <= 0;
      end else if (round_ends) begin
        round_first <= round_first + ROWS;
        for (int i = 0; i < ROWS; i++) begin
          if (32'(row_w[i]) + step[STEP_W] >= step[OUT_W]) begin
            row_w[i] <= row_w[i] + step[STEP_W][15:0] - step[OUT_W][15:0];
            row_h[i] <= row_h[i] + step[STEP_H][15:0] + 1;
          end else begin
            row_w[i] <= row_w[i] + step[STEP_W][15:0];
            row_h[i] <= row_h[i] + step[STEP_H][15:0];
          end
        end
      end
    end

    // The pixel under each lane; zero outside the image.
    int r[COLS], s[COLS], c[COLS], h[COLS][ROWS], w[COLS][ROWS];
    always_comb begin
      for (int j = 0; j < COLS; j++) begin
        s[j] = 32'(index[j]) & ((1 << settings[S_BITS]) - 1);
        r[j] = (32'(index[j]) >> settings[S_BITS]) & ((1 << settings[R_BITS]) - 1);
        c[j] = 32'(index[j]) >> (settings[S_BITS] + settings[R_BITS]);
        for (int i = 0; i < ROWS; i++) begin
          h[j][i] = 32'(row_h[i]) * settings[STRIDE] + r[j] - step[PAD_TOP];
          w[j][i] = 32'(row_w[i]) * settings[STRIDE] + s[j] - step[PAD_LEFT];
          if (h[j][i] >= 0 && h[j][i] < step[TILE_H] && w[j][i] >= 0 && w[j][i] < step[TILE_W]
              && round_first + i < step[POSITIONS])
            operand[j][i] = inputs[in_base+(h[j][i]*step[TILE_W]+w[j][i])*step[CHANNELS]+c[j]];
          else operand[j][i] = 0;
        end
      end
    end

    // Sums go to the output buffer, on top of those of earlier channel tiles.
    always_ff @(posedge clk) begin
      if (write) begin
        for (int j = 0; j < COLS; j++) begin
          for (int i = 0; i < ROWS; i++) begin
            if (32'(write_filter) + j < step[FILTERS] && 32'(write_round) * ROWS + i < step[POSITIONS]) begin
              outputs[out_base+(32'(write_round)*ROWS+i)*step[FILTERS]+32'(write_filter)+j] <=
                  (step[FLAGS][0] ? '0 : outputs[out_base+(32'(write_round)*ROWS+i)*step[FILTERS]+32'(write_filter)+j])
                  + sum[j][i];
            end
          end
        end
      end
    end
  end else begin : weight_stationary
    logic [23:0] weight_at[COLS];
    logic signed [7:0] weight[COLS], pixel[ROWS];
    logic [15:0] row_channel[ROWS], row_r[ROWS], row_s[ROWS], out_h, out_w, write_filter;
    logic write, write_first;
    logic [31:0] write_position;
    logic signed [ACC_BITS-1:0] sum[COLS];

    weight_stationary #(
        .ROWS(ROWS),
        .COLS(COLS),
        .ACC_BITS(ACC_BITS)
    ) array (
        .clk, .rst, .start(compute_start), .step, .settings, .done(compute_done),
        .weight_at, .weight, .row_channel, .row_r, .row_s, .out_h, .out_w, .pixel,
        .write, .write_first, .write_position, .write_filter, .sum
    );
    always_comb for (int j = 0; j < COLS; j++) weight[j] = weights[w_base+32'(weight_at[j])];

    int h[ROWS], w[ROWS];
    always_comb begin
      for (int i = 0; i < ROWS; i++) begin
        h[i] = 32'(out_h) * settings[STRIDE] + 32'(row_r[i]) - step[PAD_TOP];
        w[i] = 32'(out_w) * settings[STRIDE] + 32'(row_s[i]) - step[PAD_LEFT];
        if (h[i] >= 0 && h[i] < step[TILE_H] && w[i] >= 0 && w[i] < step[TILE_W])
          pixel[i] = inputs[in_base+(h[i]*step[TILE_W]+w[i])*step[CHANNELS]+32'(row_channel[i])];
        else pixel[i] = 0;
      end
    end

    always_ff @(posedge clk) begin
      if (write) begin
        for (int j = 0; j < COLS; j++) begin
          if (32'(write_filter) + j < step[FILTERS]) begin
            outputs[out_base+write_position*step[FILTERS]+32'(write_filter)+j] <=
                (step[FLAGS][0] && write_first ? '0
                 : outputs[out_base+write_position*step[FILTERS]+32'(write_filter)+j]) + sum[j];
          end
        end
      end
    end
  end
endmodule
