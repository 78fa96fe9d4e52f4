// The choice of operands from an operand window, for synthesis: each column takes the vector of one of the banks, which
// give a vector a cycle each.  A vector is WIDTH bits, one operand for each row.
module operand_select #(
    parameter int COLS = 4,
    parameter int BANKS = 8,
    parameter int WIDTH = 8
) (
    input logic [BANKS-1:0][WIDTH-1:0] vector,
    input logic [COLS-1:0][$clog2(BANKS)-1:0] bank,
    output logic [COLS-1:0][WIDTH-1:0] operand
);
  always_comb for (int j = 0; j < COLS; j++) operand[j] = vector[bank[j]];
endmodule
