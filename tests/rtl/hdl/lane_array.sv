// TAP_LANES x COLS streams of weights, each broadcast to ROWS lanes; a lane multiplies and accumulates one output.
//
// SKIP = 1: every stream holds the non-zero weights of one filter (and tap), each with its index; the lengths of the
// streams stand in a table in front of them.  Streams that work side by side form a group; a group ends when its longest
// stream does (barrier), and the next one follows in the next cycle.  An empty group takes the one cycle that
// hands over its zero sums.  SKIP = 0: streams are dense, have no index and no table, and all have LENGTH weights.
//
// BANKS > 0: each stream is cut into operand windows, each with a length of its own; streams that work side by side wait
// for each other at the end of every window.  The operand vector of a position lies in bank ``position % BANKS``; a bank
// gives one vector a cycle, the first in order of those asked for, to all streams of its tap that ask for it, and the
// others wait.  The next window is begun when ``window_ready`` says that it has been filled.
//
// Time of a step: 3 cycles (take the step, fetch the lengths of the first group, hand them to the streams), one cycle for
// each weight of the longest stream of each group in each round, 3 cycles (operand, multiply, write) for the last weight.
module lane_array
  import machine_pkg::*;
#(
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int TAP_LANES = 1,
    parameter int TAPS = 1,
    parameter int X_BITS = 8,
    parameter int ACC_BITS = 32,
    parameter int SKIP = 1,
    parameter int BANKS = 0,
    localparam int STREAMS = TAP_LANES * COLS,
    localparam int COLS_BITS = $clog2(COLS + 1),
    localparam int COLUMN_BITS = COLS_BITS + 9,
    localparam int TABLE_BITS = COLS_BITS + 9 + $clog2(TAP_LANES + 1)
) (
    input logic clk,
    input logic rst,
    input logic start,
    input logic [STEP_WORDS-1:0][31:0] step,  // stable from start to done
    input logic [SETTINGS-1:0][31:0] settings,
    output logic done,
    // weight buffer: 32 bits from any bit on
    output logic [23:0] count_at[STREAMS],
    input logic [31:0] count_word[STREAMS],
    output logic [23:0] record_at[STREAMS],
    input logic [31:0] record_word[STREAMS],
    // input buffer: the operand of each lane for the index of its stream, in the same cycle
    output logic [15:0] index[STREAMS],
    output logic [15:0] operand_round,
    output logic [15:0] operand_taps,  // first tap of the group
    output logic round_ends,           // the operands of this cycle are the last of their round
    input logic signed [X_BITS-1:0] operand[STREAMS][ROWS],
    // operand windows
    input logic window_ready,          // the next window has been filled
    output logic window_starts,        // this is the first cycle of a window
    output logic [15:0] next_round,    // of the next window
    output logic [15:0] next_window,
    output logic operand_slot,         // counts the windows, of the operands of this cycle
    // finished sums
    output logic write,
    output logic [15:0] write_round,
    output logic [15:0] write_filter,  // of the first column
    output logic [15:0] write_tap,     // of the first tap lane
    output logic signed [ACC_BITS-1:0] sum[STREAMS][ROWS]
);
  typedef struct packed {
    logic valid;
    logic last_of_round;
    logic last;  // group of the step
    logic last_window;  // of the group
    logic slot;
    logic [15:0] window;
    logic [15:0] round;
    logic [15:0] filter;
    logic [15:0] tap;
  } group_t;

  // Look-ahead: the group whose lengths are fetched next.
  group_t ahead, next, current;
  logic [23:0] ahead_table, ahead_records, records_end;
  logic [15:0] cols_used, taps_used;
  logic [15:0] ahead_length[STREAMS];
  logic [23:0] ahead_pointer[STREAMS];
  logic [15:0] next_length[STREAMS], left[STREAMS];
  logic [23:0] next_pointer[STREAMS], pointer[STREAMS];
  logic [15:0] channel, r, s;  // SKIP = 0: the index counts channels, then columns and rows of the kernel
  logic first, group_done, take_next, fetch;

  // No general multiplier a stream: the table's entries lie at constant multiples of COUNT_BITS, dense records at
  // shifts, and a record has fewer than 32 bits (five rows of an array multiplier).
  logic [8:0] count_bits;  // a field grows with the channels of a tile
  logic [4:0] record_bits;
  logic [COLS_BITS+8:0] row_bits;  // of the table's entries of one tap
  logic [23:0] row_at[TAP_LANES];
  assign count_bits = settings[COUNT_BITS][8:0];
  assign record_bits = settings[RECORD_BITS][4:0];
  assign row_bits = cols_used[COLS_BITS-1:0] * count_bits;
  always_comb begin
    cols_used = step[FILTERS][15:0] - ahead.filter < 16'(COLS) ? step[FILTERS][15:0] - ahead.filter : 16'(COLS);
    taps_used = 16'(TAPS) - ahead.tap < 16'(TAP_LANES) ? 16'(TAPS) - ahead.tap : 16'(TAP_LANES);
    for (int t = 0; t < TAP_LANES; t++) row_at[t] = ahead_table + 24'(TABLE_BITS'(t) * TABLE_BITS'(row_bits));
    for (int v = 0; v < STREAMS; v++) begin
      count_at[v] = row_at[v/COLS] + 24'(COLUMN_BITS'(v % COLS) * COLUMN_BITS'(count_bits));
    end
  end
  always_comb begin
    records_end = ahead_records;
    for (int v = 0; v < STREAMS; v++) begin
      if (16'(v / COLS) >= taps_used || 16'(v % COLS) >= cols_used) ahead_length[v] = 0;
      else if (SKIP != 0) ahead_length[v] = 16'(count_word[v] & ((1 << settings[COUNT_BITS]) - 1));
      else ahead_length[v] = step[LENGTH][15:0];
      ahead_pointer[v] = records_end;
      if (SKIP != 0) records_end = records_end + 24'(21'(ahead_length[v]) * 21'(record_bits));
      else records_end = records_end + (24'(ahead_length[v]) << 3);
    end
  end

  // Which streams get their operand in this cycle.
  logic served[STREAMS];
  if (BANKS > 0) begin : banked
    logic [15:0] asked[STREAMS];
    logic [31:0] bank[STREAMS];
    always_comb begin
      for (int v = 0; v < STREAMS; v++) begin
        asked[v] = 16'((record_word[v] & ((1 << settings[RECORD_BITS]) - 1)) >> 8);
        bank[v] = ((32'(asked[v]) >> (settings[R_BITS] + settings[S_BITS])) * settings[KERNEL_R]
            + ((32'(asked[v]) >> settings[S_BITS]) & ((1 << settings[R_BITS]) - 1))) * settings[KERNEL_S]
            + (32'(asked[v]) & ((1 << settings[S_BITS]) - 1));
        bank[v] = bank[v] % BANKS;
      end
    end
    always_comb begin
      for (int v = 0; v < STREAMS; v++) begin
        served[v] = 1;
        for (int u = 0; u < STREAMS; u++) begin
          if (u / COLS == v / COLS && left[u] != 0 && bank[u] == bank[v] && asked[u] < asked[v]) served[v] = 0;
        end
      end
    end
  end else begin : unbanked
    always_comb for (int v = 0; v < STREAMS; v++) served[v] = 1;
  end

  always_comb begin
    group_done = window_ready;
    for (int v = 0; v < STREAMS; v++) if (left[v] > 1 || (left[v] == 1 && !served[v])) group_done = 0;
  end
  assign take_next = !current.valid || group_done;
  assign fetch = take_next || !next.valid;

  always_ff @(posedge clk) begin
    if (rst) begin
      ahead.valid <= 0;
      next.valid <= 0;
      current.valid <= 0;
    end else if (start) begin
      ahead <= '{valid: 1, default: 0};
      ahead_table <= 0;
      ahead_records <= SKIP != 0 ? step[HEADER_BITS][23:0] : 0;
      next.valid <= 0;
      current.valid <= 0;
    end else begin
      if (fetch) begin
        next <= ahead;
        next.last_of_round <= 0;
        next.last_window <= 0;
        ahead.slot <= !ahead.slot;
        next_length <= ahead_length;
        next_pointer <= ahead_pointer;
        ahead_table <= ahead_table + 24'(TABLE_BITS'(row_bits) * TABLE_BITS'(taps_used));
        ahead_records <= records_end;
        if (32'(ahead.window) + 1 < step[WINDOWS]) begin
          ahead.window <= ahead.window + 1;
        end else if (32'(ahead.tap) + TAP_LANES < TAPS) begin
          ahead.window <= 0;
          next.last_window <= 1;
          ahead.tap <= ahead.tap + 16'(TAP_LANES);
        end else begin
          ahead.window <= 0;
          next.last_window <= 1;
          ahead.tap <= 0;
          if (32'(ahead.filter) + COLS < step[FILTERS]) begin
            ahead.filter <= ahead.filter + 16'(COLS);
          end else begin
            next.last_of_round <= 1;
            next.last <= 32'(ahead.round) + 1 == step[ROUNDS];
            ahead.filter <= 0;
            ahead.round <= ahead.round + 1;
            ahead.valid <= ahead.valid && 32'(ahead.round) + 1 != step[ROUNDS];
            ahead_table <= 0;
            ahead_records <= SKIP != 0 ? step[HEADER_BITS][23:0] : 0;
          end
        end
      end
      first <= take_next;
      if (take_next) begin
        current <= next;
        left <= next_length;
        pointer <= next_pointer;
        channel <= 0;
        r <= 0;
        s <= 0;
      end else begin
        channel <= channel + 1;
        if (32'(channel) + 1 == step[CHANNELS]) begin
          channel <= 0;
          s <= s + 1;
          if (32'(s) + 1 == settings[KERNEL_S]) begin
            s <= 0;
            r <= r + 1;
          end
        end
        for (int v = 0; v < STREAMS; v++) begin
          if (left[v] != 0 && served[v]) begin
            left[v] <= left[v] - 1;
            pointer[v] <= pointer[v] + (SKIP != 0 ? 24'(record_bits) : 24'd8);
          end
        end
      end
    end
  end

  // Weight
  assign record_at = pointer;
  group_t of_operand, of_product, of_sum;
  logic operand_first, operand_last, product_first, product_last, sum_last;
  logic operand_valid[STREAMS], product_valid[STREAMS];
  logic signed [7:0] weight[STREAMS], product_weight[STREAMS];
  logic signed [X_BITS-1:0] x[STREAMS][ROWS];

  always_ff @(posedge clk) begin
    of_operand <= current;
    operand_first <= first && current.window == 0;
    operand_last <= group_done;
    for (int v = 0; v < STREAMS; v++) begin
      operand_valid[v] <= left[v] != 0 && served[v];
      weight[v] <= record_word[v][7:0];
      if (SKIP != 0) index[v] <= 16'((record_word[v] & ((1 << settings[RECORD_BITS]) - 1)) >> 8);
      else index[v] <= (channel << (settings[R_BITS] + settings[S_BITS])) | (r << settings[S_BITS]) | s;
    end
    if (rst) of_operand.valid <= 0;
  end

  // Operand
  assign operand_round = of_operand.round;
  assign operand_taps = of_operand.tap;
  assign operand_slot = of_operand.slot;
  assign window_starts = current.valid && first;
  assign next_round = next.round;
  assign next_window = next.window;
  assign round_ends = of_operand.valid && operand_last && of_operand.last_of_round;
  always_ff @(posedge clk) begin
    of_product <= of_operand;
    product_first <= operand_first;
    product_last <= operand_last;
    product_valid <= operand_valid;
    for (int v = 0; v < STREAMS; v++) begin
      if (operand_valid[v]) begin  // a waiting lane's multiplier keeps its operands, so that nothing in it toggles
        product_weight[v] <= weight[v];
        x[v] <= operand[v];
      end
    end
    if (rst) of_product.valid <= 0;
  end

  // Multiply and accumulate
  always_ff @(posedge clk) begin
    of_sum <= of_product;
    sum_last <= product_last;
    if (of_product.valid) begin
      for (int v = 0; v < STREAMS; v++) begin
        for (int i = 0; i < ROWS; i++) begin
          sum[v][i] <= (product_first ? '0 : sum[v][i])
              + (product_valid[v] ? ACC_BITS'(product_weight[v]) * ACC_BITS'(x[v][i]) : '0);
        end
      end
    end
    if (rst) of_sum.valid <= 0;
  end

  // Write
  assign write = of_sum.valid && sum_last && of_sum.last_window;
  assign write_round = of_sum.round;
  assign write_filter = of_sum.filter;
  assign write_tap = of_sum.tap;
  assign done = write && of_sum.last;
endmodule
