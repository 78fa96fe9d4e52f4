// The output buffer's way to DRAM: BANDWIDTH values a beat, each shifted right, rounded half up and saturated to 8 bits.
module output_path #(
    parameter int BANDWIDTH = 8,
    parameter int BITS = 48
) (
    input logic [5:0] shift,
    input logic signed [BITS-1:0] value[BANDWIDTH],
    output logic [7:0] result[BANDWIDTH]
);
  logic signed [BITS-1:0] rounded[BANDWIDTH];
  always_comb begin
    for (int b = 0; b < BANDWIDTH; b++) begin
      rounded[b] = (value[b] + ((BITS'(1) << shift) >> 1)) >>> shift;
      result[b] = rounded[b] > 127 ? 8'sd127 : rounded[b] < -128 ? -8'sd128 : rounded[b][7:0];
    end
  end
endmodule
