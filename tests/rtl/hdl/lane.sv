// One lane of lane_array on its own, for synthesis: an operand register that holds while the lane waits, multiply,
// accumulate, start anew.  The weight's register is its stream's.
module lane #(
    parameter int X_BITS = 8,
    parameter int W_BITS = 8,
    parameter int ACC_BITS = 24
) (
    input logic clk,
    input logic first,
    input logic valid,
    input logic operand_valid,  // valid, one cycle ahead
    input logic signed [W_BITS-1:0] weight,
    input logic signed [X_BITS-1:0] operand,
    output logic signed [ACC_BITS-1:0] sum
);
  logic signed [X_BITS-1:0] x;
  logic signed [ACC_BITS-1:0] product;
  assign product = weight * x;
  always_ff @(posedge clk) begin
    if (operand_valid) x <= operand;
    sum <= (first ? {ACC_BITS{1'b0}} : sum) + (valid ? product : {ACC_BITS{1'b0}});
  end
endmodule
