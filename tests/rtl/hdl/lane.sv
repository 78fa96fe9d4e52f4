// One lane of lane_array on its own, for synthesis: multiply, accumulate, start anew.
module lane #(
    parameter int X_BITS = 8,
    parameter int ACC_BITS = 24
) (
    input logic clk,
    input logic first,
    input logic valid,
    input logic signed [7:0] weight,
    input logic signed [X_BITS-1:0] x,
    output logic signed [ACC_BITS-1:0] sum
);
  logic signed [ACC_BITS-1:0] product;
  assign product = weight * x;
  always_ff @(posedge clk) sum <= (first ? {ACC_BITS{1'b0}} : sum) + (valid ? product : {ACC_BITS{1'b0}});
endmodule
