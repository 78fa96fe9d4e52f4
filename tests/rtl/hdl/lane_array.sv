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
// FILTERS_EACH > 1: a lane sums up that many filters, every COLS-th one of the group.  Their streams are merged by index,
// so that an operand serves all filters that have a weight for it; each weight takes a cycle.  A stream asks a bank once
// for an operand and keeps it in the lanes' registers.  OUTPUTS_EACH > 1: a lane sums up that many outputs, those of as
// many rounds, and uses each weight in as many cycles; not with BANKS > 0.
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
    parameter int FILTERS_EACH = 1,
    parameter int OUTPUTS_EACH = 1,
    parameter int TAP_CYCLES = 1,  // that a tap takes at least, with all its windows; over 1: OUTPUTS_EACH = 1
    localparam int STREAMS = TAP_LANES * COLS,
    localparam int FILTERS_ASIDE = COLS * FILTERS_EACH,
    localparam int PARTS = STREAMS * FILTERS_EACH,  // the filters of stream v are parts v * FILTERS_EACH and following
    localparam int COLS_BITS = $clog2(FILTERS_ASIDE + 1),
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
    output logic [23:0] count_at[PARTS],
    input logic [31:0] count_word[PARTS],
    output logic [23:0] record_at[PARTS],
    input logic [31:0] record_word[PARTS],
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
    output logic signed [ACC_BITS-1:0] sum[PARTS][ROWS]
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
  logic [15:0] ahead_length[PARTS];
  logic [23:0] ahead_pointer[PARTS];
  logic [15:0] next_length[PARTS], left[PARTS];
  logic [23:0] next_pointer[PARTS], pointer[PARTS];
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
    cols_used = step[FILTERS][15:0] - ahead.filter < 16'(FILTERS_ASIDE) ? step[FILTERS][15:0] - ahead.filter
        : 16'(FILTERS_ASIDE);
    taps_used = 16'(TAPS) - ahead.tap < 16'(TAP_LANES) ? 16'(TAPS) - ahead.tap : 16'(TAP_LANES);
    for (int t = 0; t < TAP_LANES; t++) row_at[t] = ahead_table + 24'(TABLE_BITS'(t) * TABLE_BITS'(row_bits));
    for (int v = 0; v < STREAMS; v++) begin
      for (int f = 0; f < FILTERS_EACH; f++) begin
        count_at[v*FILTERS_EACH+f] = row_at[v/COLS] + 24'(COLUMN_BITS'(f * COLS + v % COLS) * COLUMN_BITS'(count_bits));
      end
    end
  end
  always_comb begin
    records_end = ahead_records;
    for (int t = 0; t < TAP_LANES; t++) begin
      for (int f = 0; f < FILTERS_EACH; f++) begin
        for (int u = t * FILTERS_ASIDE + f; u < (t + 1) * FILTERS_ASIDE; u = u + FILTERS_EACH) begin
          if (16'(t) >= taps_used || 16'(f * COLS + (u - t * FILTERS_ASIDE) / FILTERS_EACH) >= cols_used)
            ahead_length[u] = 0;
          else if (SKIP != 0) ahead_length[u] = 16'(count_word[u] & ((1 << settings[COUNT_BITS]) - 1));
          else ahead_length[u] = step[LENGTH][15:0];
          ahead_pointer[u] = records_end;
          if (SKIP != 0) records_end = records_end + 24'(21'(ahead_length[u]) * 21'(record_bits));
          else records_end = records_end + (24'(ahead_length[u]) << 3);
        end
      end
    end
  end

  // Which of its filters each stream works on in this cycle, the one of the lowest index, and how much all have left.
  logic [7:0] chosen[STREAMS], filter_turn;
  logic [15:0] left_of[STREAMS], left_of_chosen[STREAMS];
  logic [31:0] chosen_word[STREAMS];
  logic last_turn;  // SKIP = 0: of the filters at this index
  if (FILTERS_EACH == 1) begin : one_filter
    assign last_turn = 1;
    always_comb begin
      for (int v = 0; v < STREAMS; v++) begin
        chosen[v] = 0;
        left_of[v] = left[v];
        left_of_chosen[v] = left[v];
        chosen_word[v] = record_word[v];
      end
    end
  end else begin : merged
    logic [23:0] index_of[PARTS], lowest[STREAMS];
    assign last_turn = 32'(filter_turn) == FILTERS_EACH - 1 || left[filter_turn+1] == 0;
    always_comb begin
      for (int u = 0; u < PARTS; u++) index_of[u] = 24'((record_word[u] & ((1 << settings[RECORD_BITS]) - 1)) >> 8);
      for (int v = 0; v < STREAMS; v++) begin
        chosen[v] = filter_turn;
        left_of[v] = 0;
        lowest[v] = '1;
        for (int f = 0; f < FILTERS_EACH; f++) begin
          left_of[v] = left_of[v] + left[v*FILTERS_EACH+f];
          if (SKIP != 0 && left[v*FILTERS_EACH+f] != 0 && index_of[v*FILTERS_EACH+f] < lowest[v]) begin
            lowest[v] = index_of[v*FILTERS_EACH+f];
            chosen[v] = 8'(f);
          end
        end
        left_of_chosen[v] = left[v*FILTERS_EACH+32'(chosen[v])];
        chosen_word[v] = record_word[v*FILTERS_EACH+32'(chosen[v])];
      end
    end
  end

  // The outputs that share a weight.
  logic [15:0] output_turn, last_output;
  if (OUTPUTS_EACH == 1) begin : one_output
    assign last_output = 0;
    assign output_turn = 0;
  end else begin : outputs
    assign last_output = step[ROUNDS][15:0] - current.round < 16'(OUTPUTS_EACH) ? step[ROUNDS][15:0] - current.round - 1
        : 16'(OUTPUTS_EACH - 1);
    always_ff @(posedge clk) output_turn <= start || take_next || output_turn == last_output ? 0 : output_turn + 1;
  end

  // Which streams get their operand in this cycle, and which have it from their weight before.
  logic served[STREAMS], again[STREAMS];
  if (BANKS > 0) begin : banked
    logic [15:0] asked[STREAMS];
    logic [31:0] bank[STREAMS];
    always_comb begin
      for (int v = 0; v < STREAMS; v++) begin
        asked[v] = 16'((chosen_word[v] & ((1 << settings[RECORD_BITS]) - 1)) >> 8);
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
          if (u / COLS == v / COLS && left_of[u] != 0 && !again[u] && bank[u] == bank[v] && asked[u] < asked[v]
              && !again[v])
            served[v] = 0;
        end
      end
    end
    if (FILTERS_EACH == 1) begin : asked_once
      always_comb for (int v = 0; v < STREAMS; v++) again[v] = 0;
    end else begin : kept
      logic holds[STREAMS];
      logic [15:0] held[STREAMS];
      always_comb for (int v = 0; v < STREAMS; v++) again[v] = holds[v] && held[v] == asked[v];
      always_ff @(posedge clk) begin
        for (int v = 0; v < STREAMS; v++) begin
          if (rst || start || take_next) holds[v] <= 0;
          else if (left_of[v] != 0 && served[v]) begin
            holds[v] <= 1;
            held[v] <= asked[v];
          end
        end
      end
    end
  end else begin : unbanked
    always_comb begin
      for (int v = 0; v < STREAMS; v++) begin
        served[v] = 1;
        again[v] = 0;
      end
    end
  end

  // Whether what takes the sums is done with those of the tap before.
  logic sums_taken;
  if (TAP_CYCLES == 1) begin : at_once
    assign sums_taken = 1;
  end else begin : in_turns
    logic [7:0] cycles;  // of the tap, before this one
    assign sums_taken = !current.last_window || 32'(cycles) >= TAP_CYCLES - 1;
    always_ff @(posedge clk) begin
      if (take_next && next.window == 0) cycles <= 0;
      else if (32'(cycles) < TAP_CYCLES - 1) cycles <= cycles + 1;
    end
  end

  logic weights_done;  // but for further outputs
  always_comb begin
    weights_done = window_ready && sums_taken;
    for (int v = 0; v < STREAMS; v++) if (left_of[v] > 1 || (left_of[v] == 1 && !served[v])) weights_done = 0;
    group_done = weights_done && output_turn == last_output;
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
          if (32'(ahead.filter) + FILTERS_ASIDE < step[FILTERS]) begin
            ahead.filter <= ahead.filter + 16'(FILTERS_ASIDE);
          end else begin
            next.last_of_round <= 1;
            next.last <= 32'(ahead.round) + OUTPUTS_EACH >= step[ROUNDS];
            ahead.filter <= 0;
            ahead.round <= ahead.round + 16'(OUTPUTS_EACH);
            ahead.valid <= ahead.valid && 32'(ahead.round) + OUTPUTS_EACH < step[ROUNDS];
            ahead_table <= 0;
            ahead_records <= SKIP != 0 ? step[HEADER_BITS][23:0] : 0;
          end
        end
      end
      first <= take_next || (first && output_turn != last_output);
      if (take_next) begin
        current <= next;
        left <= next_length;
        pointer <= next_pointer;
        filter_turn <= 0;
        channel <= 0;
        r <= 0;
        s <= 0;
      end else if (output_turn == last_output) begin
        filter_turn <= last_turn ? 0 : filter_turn + 1;
        if (last_turn) begin
          channel <= channel + 1;
          if (32'(channel) + 1 == step[CHANNELS]) begin
            channel <= 0;
            s <= s + 1;
            if (32'(s) + 1 == settings[KERNEL_S]) begin
              s <= 0;
              r <= r + 1;
            end
          end
        end
        for (int u = 0; u < PARTS; u++) begin
          if (left[u] != 0 && served[u/FILTERS_EACH]
              && (FILTERS_EACH == 1 || 32'(chosen[u/FILTERS_EACH]) == u % FILTERS_EACH)) begin
            left[u] <= left[u] - 1;
            pointer[u] <= pointer[u] + (SKIP != 0 ? 24'(record_bits) : 24'd8);
          end
        end
      end
    end
  end

  // Weight
  assign record_at = pointer;
  group_t of_operand, of_product, of_sum;
  logic operand_first, operand_last, product_first, product_last, sum_last;
  logic [15:0] operand_output, product_output, sum_output;  // among those that share a weight
  logic operand_group, product_group, sum_group;            // the group ends with it
  logic [7:0] operand_filter[STREAMS], product_filter[STREAMS];
  logic operand_valid[STREAMS], operand_new[STREAMS], product_valid[STREAMS];
  logic signed [7:0] weight[STREAMS], product_weight[STREAMS];
  logic signed [X_BITS-1:0] x[STREAMS][ROWS];

  always_ff @(posedge clk) begin
    of_operand <= current;
    operand_first <= first && current.window == 0;
    operand_last <= weights_done;
    operand_group <= group_done;
    operand_output <= output_turn;
    operand_filter <= chosen;
    for (int v = 0; v < STREAMS; v++) begin
      operand_valid[v] <= (SKIP != 0 ? left_of[v] != 0 : left_of_chosen[v] != 0) && served[v];
      operand_new[v] <= !again[v];
      weight[v] <= chosen_word[v][7:0];
      if (SKIP != 0) index[v] <= 16'((chosen_word[v] & ((1 << settings[RECORD_BITS]) - 1)) >> 8);
      else index[v] <= (channel << (settings[R_BITS] + settings[S_BITS])) | (r << settings[S_BITS]) | s;
    end
    if (rst) of_operand.valid <= 0;
  end

  // Operand
  assign operand_round = of_operand.round + operand_output;
  assign operand_taps = of_operand.tap;
  assign operand_slot = of_operand.slot;
  assign window_starts = current.valid && first;
  assign next_round = next.round;
  assign next_window = next.window;
  assign round_ends = of_operand.valid && operand_group && of_operand.last_of_round;
  always_ff @(posedge clk) begin
    of_product <= of_operand;
    product_first <= operand_first;
    product_last <= operand_last;
    product_group <= operand_group;
    product_output <= operand_output;
    product_filter <= operand_filter;
    product_valid <= operand_valid;
    for (int v = 0; v < STREAMS; v++) begin
      if (operand_valid[v]) begin  // a waiting lane's multiplier keeps its operands, so that nothing in it toggles
        product_weight[v] <= weight[v];
        if (operand_new[v]) x[v] <= operand[v];
      end
    end
    if (rst) of_product.valid <= 0;
  end

  // Multiply and accumulate
  always_ff @(posedge clk) begin
    of_sum <= of_product;
    sum_last <= product_last;
    sum_group <= product_group;
    sum_output <= product_output;
    if (rst) of_sum.valid <= 0;
  end
  logic adds[PARTS];
  always_comb begin
    for (int u = 0; u < PARTS; u++)
      adds[u] = product_valid[u/FILTERS_EACH]
          && (FILTERS_EACH == 1 || 32'(product_filter[u/FILTERS_EACH]) == u % FILTERS_EACH);
  end
  if (OUTPUTS_EACH == 1) begin : one_sum
    always_ff @(posedge clk) begin
      if (of_product.valid) begin
        for (int u = 0; u < PARTS; u++) begin
          for (int i = 0; i < ROWS; i++) begin
            sum[u][i] <= (product_first ? '0 : sum[u][i])
                + (adds[u] ? ACC_BITS'(product_weight[u/FILTERS_EACH]) * ACC_BITS'(x[u/FILTERS_EACH][i]) : '0);
          end
        end
      end
    end
  end else begin : sums
    logic signed [ACC_BITS-1:0] held[PARTS][ROWS][OUTPUTS_EACH];
    always_ff @(posedge clk) begin
      if (of_product.valid) begin
        for (int u = 0; u < PARTS; u++) begin
          for (int i = 0; i < ROWS; i++) begin
            held[u][i][product_output] <= (product_first ? '0 : held[u][i][product_output])
                + (adds[u] ? ACC_BITS'(product_weight[u/FILTERS_EACH]) * ACC_BITS'(x[u/FILTERS_EACH][i]) : '0);
          end
        end
      end
    end
    always_comb for (int u = 0; u < PARTS; u++) for (int i = 0; i < ROWS; i++) sum[u][i] = held[u][i][sum_output];
  end

  // Write
  assign write = of_sum.valid && sum_last && of_sum.last_window;
  assign write_round = of_sum.round + sum_output;
  assign write_filter = of_sum.filter;
  assign write_tap = of_sum.tap;
  assign done = write && sum_group && of_sum.last;
endmodule
