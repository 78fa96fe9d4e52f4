// The transforms of F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3) as adders and shifts, without multipliers: points 0, 1, -1 (and
// 2, -2), in the scaling of Lavin & Gray (CVPR 2016).  Both passes of a 2-D transform, a register between them.

// y = B^T x of one row or column; entry 0 in the lowest bits.
module input_transform_1d #(
    parameter int M = 2,
    parameter int BITS = 10,
    localparam int N = M + 2
) (
    input logic [N*BITS-1:0] x,
    output logic [N*BITS-1:0] y
);
  logic signed [BITS-1:0] x0, x1, x2, x3;
  assign {x3, x2, x1, x0} = x[4*BITS-1:0];
  if (M == 2) begin : f2
    assign y[0*BITS+:BITS] = x0 - x2;
    assign y[1*BITS+:BITS] = x1 + x2;
    assign y[2*BITS+:BITS] = x2 - x1;
    assign y[3*BITS+:BITS] = x3 - x1;
  end else begin : f4
    logic signed [BITS-1:0] x4, x5;
    assign {x5, x4} = x[6*BITS-1:4*BITS];
    logic signed [BITS-1:0] even1, odd1, even2, odd2;  // of the points 1 and -1, 2 and -2
    assign even1 = (x2 <<< 2) - x4;
    assign odd1 = (x1 <<< 2) - x3;
    assign even2 = x4 - x2;
    assign odd2 = (x3 - x1) <<< 1;
    assign y[0*BITS+:BITS] = ((x0 - x2) <<< 2) + even2;
    assign y[1*BITS+:BITS] = even1 + odd1;
    assign y[2*BITS+:BITS] = even1 - odd1;
    assign y[3*BITS+:BITS] = even2 + odd2;
    assign y[4*BITS+:BITS] = even2 - odd2;
    assign y[5*BITS+:BITS] = x5 - x3 - (odd2 <<< 1);
  end
endmodule

// y = A^T x of one row or column.
module inverse_transform_1d #(
    parameter int M = 2,
    parameter int BITS = 32,
    localparam int N = M + 2
) (
    input logic [N*BITS-1:0] x,
    output logic [M*BITS-1:0] y
);
  logic signed [BITS-1:0] x0, x1, x2, x3;
  assign {x3, x2, x1, x0} = x[4*BITS-1:0];
  logic signed [BITS-1:0] sum1, difference1;
  assign sum1 = x1 + x2;
  assign difference1 = x1 - x2;
  if (M == 2) begin : f2
    assign y[0*BITS+:BITS] = x0 + sum1;
    assign y[1*BITS+:BITS] = difference1 + x3;
  end else begin : f4
    logic signed [BITS-1:0] x4, x5;
    assign {x5, x4} = x[6*BITS-1:4*BITS];
    logic signed [BITS-1:0] sum2, difference2;
    assign sum2 = x3 + x4;
    assign difference2 = x3 - x4;
    assign y[0*BITS+:BITS] = x0 + sum1 + sum2;
    assign y[1*BITS+:BITS] = difference1 + (difference2 <<< 1);
    assign y[2*BITS+:BITS] = sum1 + (sum2 <<< 2);
    assign y[3*BITS+:BITS] = difference1 + (difference2 <<< 3) + x5;
  end
endmodule

// V = B^T d B of an N x N tile, the product one cycle after the first pass.
module input_transform #(
    parameter int M = 2,
    parameter int X_BITS = 8,
    parameter int BITS = 10,
    localparam int N = M + 2
) (
    input logic clk,
    input logic [N*N*X_BITS-1:0] tile,
    output logic [N*N*BITS-1:0] result
);
  logic [N*N*BITS-1:0] half;
  for (genvar i = 0; i < N; i++) begin : pass
    logic [N*BITS-1:0] column, column_y, row, row_y;
    input_transform_1d #(.M(M), .BITS(BITS)) down (.x(column), .y(column_y));
    input_transform_1d #(.M(M), .BITS(BITS)) across (.x(row), .y(row_y));
    for (genvar k = 0; k < N; k++) begin : wire_up
      assign column[k*BITS+:BITS] = BITS'($signed(tile[(k*N+i)*X_BITS+:X_BITS]));
      assign row[k*BITS+:BITS] = half[(i*N+k)*BITS+:BITS];
      assign result[(i*N+k)*BITS+:BITS] = row_y[k*BITS+:BITS];
      always_ff @(posedge clk) half[(k*N+i)*BITS+:BITS] <= column_y[k*BITS+:BITS];
    end
  end
endmodule

// Y = A^T M A of an N x N tile of sums, the M x M result one cycle after the first pass.
module inverse_transform #(
    parameter int M = 2,
    parameter int BITS = 32,
    localparam int N = M + 2
) (
    input logic clk,
    input logic [N*N*BITS-1:0] tile,
    output logic [M*M*BITS-1:0] result
);
  logic [M*N*BITS-1:0] half;
  for (genvar i = 0; i < N; i++) begin : pass_down
    logic [N*BITS-1:0] column;
    logic [M*BITS-1:0] column_y;
    inverse_transform_1d #(.M(M), .BITS(BITS)) down (.x(column), .y(column_y));
    for (genvar k = 0; k < N; k++) begin : wire_in
      assign column[k*BITS+:BITS] = tile[(k*N+i)*BITS+:BITS];
    end
    for (genvar k = 0; k < M; k++) begin : wire_out
      always_ff @(posedge clk) half[(k*N+i)*BITS+:BITS] <= column_y[k*BITS+:BITS];
    end
  end
  for (genvar i = 0; i < M; i++) begin : pass_across
    logic [N*BITS-1:0] row;
    logic [M*BITS-1:0] row_y;
    inverse_transform_1d #(.M(M), .BITS(BITS)) across (.x(row), .y(row_y));
    for (genvar k = 0; k < N; k++) begin : wire_in
      assign row[k*BITS+:BITS] = half[(i*N+k)*BITS+:BITS];
    end
    for (genvar k = 0; k < M; k++) begin : wire_out
      assign result[(i*M+k)*BITS+:BITS] = row_y[k*BITS+:BITS];
    end
  end
endmodule
