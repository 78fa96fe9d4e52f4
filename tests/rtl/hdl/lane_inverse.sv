// The inverse transform where the lanes are: Y = A^T M A of F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3), points and scaling as in
// winograd_transforms.sv.
//
// A lane has one set of adders for all of its filters.  The sums of a finished tap are taken in one after the other, the
// first in the cycle of the write, while the lane multiplies for its next tap; the others wait in registers of their own.
// So a tap must take FILTERS cycles at least.

// The sums of a write, one a cycle.
module sum_turns #(
    parameter int FILTERS = 1,
    parameter int BITS = 24
) (
    input logic clk,
    input logic write,
    input logic signed [BITS-1:0] sum[FILTERS],
    output logic signed [BITS-1:0] head
);
  if (FILTERS == 1) begin : one
    assign head = sum[0];
  end else begin : held
    logic [FILTERS-2:0][BITS-1:0] waiting;  // packed, so that synthesis takes them for no memory
    assign head = write ? sum[0] : waiting[0];
    always_ff @(posedge clk) begin
      for (int f = 0; f < FILTERS - 1; f++) waiting[f] <= write ? sum[f+1] : f + 2 < FILTERS ? waiting[(f+1)%(FILTERS-1)] : 0;
    end
  end
endmodule

// A lane of a tap-serial array: a tap is added, signed, into a row of M outputs, and a finished row into the M x M.  The
// registers of the filters go round in a ring, so that nothing chooses among them.
module lane_inverse #(
    parameter int M = 2,
    parameter int FILTERS = 1,
    parameter int SUM_BITS = 24,
    parameter int BITS = 24
) (
    input logic clk,
    input logic write,
    input logic signed [SUM_BITS-1:0] sum[FILTERS],
    output logic signed [SUM_BITS-1:0] head,  // the sum whose turn it is
    input logic add,
    input logic [2:0] column,                 // of its tap
    input logic signed [BITS-1:0] value,      // the head, at the scale that all taps share
    input logic add_row,                      // the row that was added to in the cycle before is finished
    input logic [2:0] tap_row,                // which one it is
    output logic signed [BITS-1:0] result[M*M]  // a cycle behind its last row
);
  // What A^T[b][j] x adds: x, shifted where j is a point 2 or -2, nothing where the entry is zero, and turned where it
  // is negative: all bits, and one more to add.
  function automatic logic signed [BITS:0] scaled(input int b, input logic [2:0] j, input logic signed [BITS-1:0] x);
    logic signed [BITS-1:0] shifted;
    logic minus;
    shifted = M == 4 && j >= 3 && j != 5 ? x <<< b : x;
    if ((j == 0 && b != 0) || (32'(j) == M + 1 && b != M - 1)) shifted = 0;
    minus = b % 2 == 1 && (j == 2 || (M == 4 && j == 4));
    return {shifted ^ {BITS{minus}}, minus};
  endfunction

  logic [FILTERS-1:0][M-1:0][BITS-1:0] row;
  logic [FILTERS-1:0][M*M-1:0][BITS-1:0] outputs;
  logic [M-1:0][BITS:0] row_sum;  // with the bit below, which carries
  logic [M*M-1:0][BITS:0] output_sum;
  logic [M-1:0][BITS-1:0] new_row;
  logic [M*M-1:0][BITS-1:0] new_outputs;
  sum_turns #(.FILTERS(FILTERS), .BITS(SUM_BITS)) turns (.clk, .write, .sum, .head);
  always_comb begin
    for (int b = 0; b < M; b++) begin
      row_sum[b] = {column == 0 ? {BITS{1'b0}} : row[0][b], 1'b1} + scaled(b, column, value);
      for (int a = 0; a < M; a++)
        output_sum[a*M+b] = {tap_row == 0 ? {BITS{1'b0}} : outputs[0][a*M+b], 1'b1}
            + scaled(a, tap_row, row[FILTERS-1][b]);
      new_row[b] = row_sum[b][BITS:1];
    end
    for (int o = 0; o < M * M; o++) begin
      new_outputs[o] = output_sum[o][BITS:1];
      result[o] = outputs[FILTERS-1][o];
    end
  end
  always_ff @(posedge clk) begin
    if (add) row <= (FILTERS * M * BITS)'({new_row, row} >> (M * BITS));
    if (add_row) outputs <= (FILTERS * M * M * BITS)'({new_outputs, outputs} >> (M * M * BITS));
  end
endmodule

// All lanes of an array, tap-serial, or tap-parallel with an adder tree behind the taps of each row and column.
module inverse_in_lanes
  import machine_pkg::*;
#(
    parameter int M = 2,
    parameter int TAP_LANES = 1,
    parameter int FILTERS_EACH = 1,
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int ACC_BITS = 32,
    parameter int BITS = 48,
    localparam int N = M + 2,
    localparam int PARTS = TAP_LANES * COLS * FILTERS_EACH
) (
    input logic clk,
    input logic rst,
    input logic [SETTINGS-1:0][31:0] settings,
    input logic [STEP_WORDS-1:0][31:0] step,
    input logic write,  // of the lanes: the sums of a tap are finished
    input logic [15:0] write_round,
    input logic [15:0] write_filter,
    input logic [15:0] write_tap,
    input logic signed [ACC_BITS-1:0] sum[PARTS][ROWS],
    output logic result_valid,  // of filters side by side, 2 cycles behind the last tap, and a cycle for each filter before
    output logic [STEP_WORDS-1:0][31:0] result_step,  // whose outputs they are
    output logic [15:0] result_round,
    output logic [15:0] result_filter,  // of the first column
    output logic signed [BITS-1:0] result[COLS][ROWS][M*M]
);
  typedef struct packed {
    logic [STEP_WORDS-1:0][31:0] step;
    logic [15:0] round, filter;
    logic [2:0] row, column;  // of the tap
  } tap_t;
  // Whose turn it is among a lane's filters; the lanes may be in their next tap, or step.
  logic [7:0] turn, next_turn;
  logic add, add1, last_row1;
  tap_t now, held, at1;
  assign add = write || next_turn != 0;
  assign turn = write ? 0 : next_turn;
  assign now = write ? '{step, write_round, write_filter, 3'(write_tap / N), 3'(write_tap % N)} : held;
  assign last_row1 = TAP_LANES > 1 || (32'(at1.row) == N - 1 && 32'(at1.column) == N - 1);
  always_ff @(posedge clk) begin
    next_turn <= rst || !add || 32'(turn) + 1 == FILTERS_EACH ? 0 : turn + 1;
    if (write) held <= now;
    add1 <= add && !rst;
    at1 <= now;
    at1.filter <= now.filter + 16'(turn) * COLS;
    result_valid <= add1 && last_row1 && !rst;
    result_step <= at1.step;
    result_round <= at1.round;
    result_filter <= at1.filter;
  end

  for (genvar v = 0; v < COLS; v++) begin : column
    for (genvar i = 0; i < ROWS; i++) begin : lane
      if (TAP_LANES == 1) begin : serial
        logic signed [ACC_BITS-1:0] of_filter[FILTERS_EACH], head;
        always_comb for (int f = 0; f < FILTERS_EACH; f++) of_filter[f] = sum[v*FILTERS_EACH+f][i];
        lane_inverse #(
            .M(M),
            .FILTERS(FILTERS_EACH),
            .SUM_BITS(ACC_BITS),
            .BITS(BITS)
        ) outputs (
            .clk, .write, .sum(of_filter), .head, .add, .column(now.column),
            .value(BITS'(head) <<< settings[TAP_SHIFT+32'(now.row)*N+32'(now.column)][4:0]),
            .add_row(add1 && 32'(at1.column) == N - 1), .tap_row(at1.row), .result(result[v][i])
        );
      end else begin : tree
        logic [N*N-1:0][BITS-1:0] aligned;
        logic [M*M-1:0][BITS-1:0] transformed_back;
        for (genvar tap = 0; tap < N * N; tap++) begin : taps
          logic signed [ACC_BITS-1:0] of_filter[FILTERS_EACH], head;
          always_comb for (int f = 0; f < FILTERS_EACH; f++) of_filter[f] = sum[(tap*COLS+v)*FILTERS_EACH+f][i];
          sum_turns #(.FILTERS(FILTERS_EACH), .BITS(ACC_BITS)) turns (.clk, .write, .sum(of_filter), .head);
          assign aligned[tap] = BITS'(head) <<< settings[TAP_SHIFT+tap][4:0];
        end
        inverse_transform #(
            .M(M),
            .BITS(BITS)
        ) unit (
            .clk,
            .tile(aligned),
            .result(transformed_back)
        );
        always_ff @(posedge clk) for (int o = 0; o < M * M; o++) result[v][i][o] <= transformed_back[o];
      end
    end
  end
endmodule
