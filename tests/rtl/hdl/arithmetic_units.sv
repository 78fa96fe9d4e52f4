// Arithmetic on its own, for synthesis.
module adder #(
    parameter int BITS = 8
) (
    input logic signed [BITS-1:0] a,
    input logic signed [BITS-1:0] b,
    output logic signed [BITS-1:0] sum
);
  assign sum = a + b;
endmodule

module multiplier #(
    parameter int A_BITS = 8,
    parameter int B_BITS = 8
) (
    input logic signed [A_BITS-1:0] a,
    input logic signed [B_BITS-1:0] b,
    output logic signed [A_BITS+B_BITS-1:0] product
);
  assign product = a * b;
endmodule

module register #(
    parameter int BITS = 24
) (
    input logic clk,
    input logic [BITS-1:0] d,
    output logic [BITS-1:0] q
);
  always_ff @(posedge clk) q <= d;
endmodule
