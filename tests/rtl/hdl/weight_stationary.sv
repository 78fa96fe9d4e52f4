// A dense weight-stationary array: each column holds ROWS weights of one filter, one output position streams past a cycle,
// and the column adds up its ROWS products.  A pass is one set of weights; the next set is loaded behind it, a row of COLS
// weights a cycle, into shadow registers.
//
// Time of a step: 1 cycle to take it, ROWS to load the first weights, max(positions, ROWS) for each pass but the last,
// positions for that one, and 2 cycles (multiply, add and write) for its last position.
module weight_stationary
  import machine_pkg::*;
#(
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int ACC_BITS = 32
) (
    input logic clk,
    input logic rst,
    input logic start,
    input logic [STEP_WORDS-1:0][31:0] step,
    input logic [SETTINGS-1:0][31:0] settings,
    output logic done,
    // weight buffer
    output logic [23:0] weight_at[COLS],
    input logic signed [7:0] weight[COLS],
    // input buffer: the pixel of each row at an output position, in the same cycle
    output logic [15:0] row_channel[ROWS],
    output logic [15:0] row_r[ROWS],
    output logic [15:0] row_s[ROWS],
    output logic [15:0] out_h,
    output logic [15:0] out_w,
    input logic signed [7:0] pixel[ROWS],
    // sums
    output logic write,
    output logic write_first,  // of this output in this step
    output logic write_last,
    output logic [31:0] write_position,
    output logic [15:0] write_filter,
    output logic signed [ACC_BITS-1:0] sum[COLS]
);
  // Loader: row after row of the next pass into the shadow registers.
  logic loading, full, swap, complete, load_row, streaming, last_position;
  logic [15:0] filter, row, element, channel, r, s;
  logic signed [7:0] shadow[ROWS][COLS], held[ROWS][COLS];
  logic [15:0] shadow_channel[ROWS], shadow_r[ROWS], shadow_s[ROWS];
  logic more;  // rows of this filter left
  logic [31:0] position;
  logic [23:0] filter_at;  // of the first column's weights
  assign more = 32'(element) < step[LENGTH];
  assign load_row = loading && !full;
  assign complete = full || (load_row && 32'(row) == ROWS - 1);
  assign last_position = streaming && position + 1 == step[POSITIONS];
  assign swap = complete && (!streaming || last_position);
  always_comb begin
    for (int j = 0; j < COLS; j++) weight_at[j] = filter_at + 24'(j) * step[LENGTH][23:0] + 24'(element);
  end

  logic [15:0] pass_filter, next_filter;
  logic pass_first, next_first, pass_ends, next_ends, pass_last, next_last, swapped;  // ends: the filter's last pass
  always_ff @(posedge clk) begin
    swapped <= swap;
    if (rst) begin
      {loading, full, streaming, swapped} <= 0;
    end else if (start) begin
      loading <= 1;
      full <= 0;
      streaming <= 0;
      {filter, filter_at, row, element, channel, r, s} <= 0;
    end else begin
      if (load_row) begin
        for (int j = 0; j < COLS; j++)
          shadow[row][j] <= more && 32'(filter) + j < step[FILTERS] ? weight[j] : 0;
        shadow_channel[row] <= channel;
        shadow_r[row] <= r;
        shadow_s[row] <= s;
        element <= element + 1;
        row <= row + 1;
        channel <= channel + 1;
        if (32'(channel) + 1 == step[CHANNELS]) begin
          channel <= 0;
          s <= s + 1;
          if (32'(s) + 1 == settings[KERNEL_S]) begin
            s <= 0;
            r <= r + 1;
          end
        end
        if (32'(row) == ROWS - 1) begin
          full <= 1;
          next_filter <= filter;
          next_first <= 32'(element) < ROWS;
          next_ends <= 0;
          next_last <= 0;
          row <= 0;
          if (32'(element) + 1 >= step[LENGTH]) begin
            next_ends <= 1;
            {element, channel, r, s} <= 0;
            filter <= filter + 16'(COLS);
            filter_at <= filter_at + 24'(COLS) * step[LENGTH][23:0];
            if (32'(filter) + COLS >= step[FILTERS]) begin
              next_last <= 1;
              loading <= 0;
            end
          end
        end
      end
      if (swap) full <= 0;

      // Positions of the pass in the array
      if (swap) begin
        streaming <= 1;
        position <= 0;
        out_h <= 0;
        out_w <= 0;
        row_channel <= shadow_channel;
        row_r <= shadow_r;
        row_s <= shadow_s;
        if (!full) begin  // the last row arrives in this very cycle
          row_channel[ROWS-1] <= channel;
          row_r[ROWS-1] <= r;
          row_s[ROWS-1] <= s;
        end
      end else if (streaming) begin
        streaming <= !last_position;
        position <= position + 1;
        out_w <= out_w + 1;
        if (32'(out_w) + 1 == step[OUT_W]) begin
          out_w <= 0;
          out_h <= out_h + 1;
        end
      end
    end
    if (swapped) begin  // weights follow one cycle behind the addresses
      held <= shadow;
      pass_filter <= next_filter;
      pass_first <= next_first;
      pass_ends <= next_ends;
      pass_last <= next_last;
    end
  end

  // Operand, multiply, add and write
  logic valid1, valid2, final1, final2;
  logic [31:0] position1, position2;
  logic signed [7:0] x[ROWS];
  logic signed [15:0] product[ROWS][COLS];
  logic [15:0] filter2;
  logic first2, ends2, last2;
  always_ff @(posedge clk) begin
    valid1 <= streaming;
    final1 <= last_position;
    position1 <= position;
    x <= pixel;
    valid2 <= valid1;
    final2 <= final1;
    position2 <= position1;
    filter2 <= pass_filter;
    first2 <= pass_first;
    ends2 <= pass_ends;
    last2 <= pass_last;
    for (int i = 0; i < ROWS; i++) for (int j = 0; j < COLS; j++) product[i][j] <= 16'(x[i]) * 16'(held[i][j]);
    if (rst) {valid1, valid2} <= 0;
  end
  always_comb begin
    for (int j = 0; j < COLS; j++) begin
      sum[j] = 0;
      for (int i = 0; i < ROWS; i++) sum[j] = sum[j] + ACC_BITS'(product[i][j]);
    end
  end
  assign write = valid2;
  assign write_first = first2;
  assign write_last = ends2;
  assign write_position = position2;
  assign write_filter = filter2;
  assign done = valid2 && final2 && last2;
endmodule
