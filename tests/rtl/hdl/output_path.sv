// The output buffer's way out: BANDWIDTH values a cycle, each shifted right, rounded half up and saturated to 8 bits; negative
// ones become zero where ``relu`` says so.
module output_path #(
    parameter int BANDWIDTH = 8,
    parameter int BITS = 48
) (
    input logic [5:0] shift,
    input logic relu,
    input logic signed [BITS-1:0] value[BANDWIDTH],
    output logic [7:0] result[BANDWIDTH]
);
  logic signed [BITS-1:0] rounded[BANDWIDTH];
  always_comb begin
    for (int b = 0; b < BANDWIDTH; b++) begin
      rounded[b] = (value[b] + ((BITS'(1) << shift) >> 1)) >>> shift;
      result[b] = relu && rounded[b] < 0 ? 8'd0
          : rounded[b] > 127 ? 8'sd127 : rounded[b] < -128 ? -8'sd128 : rounded[b][7:0];
    end
  end
endmodule
