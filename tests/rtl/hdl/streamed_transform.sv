// The input transform between the input buffer and operand windows: it fills the next window behind the one that the
// lanes work on, anew for each group of filters and taps, RATE tile-channels a cycle, rows of lanes innermost, in FILL
// cycles and two passes.  The first window of a step is filled before the lanes start.
module streamed_transform
  import machine_pkg::*;
#(
    parameter int M = 2,
    parameter int ROWS = 4,
    parameter int RATE = 4,
    parameter int WINDOW = 16,
    parameter int X_BITS = 10,
    localparam int N = M + 2,
    localparam int TAPS = N * N
) (
    input logic clk,
    input logic rst,
    input logic start,         // a step begins
    input logic [STEP_WORDS-1:0][31:0] step,
    input logic [SETTINGS-1:0][31:0] settings,
    output logic lanes_start,  // the first window is filled
    // of the lanes
    input logic window_starts,
    input logic [15:0] next_round,
    input logic [15:0] next_window,
    output logic window_ready,
    // input buffer: the N x N pixels from a corner on, zero outside of the tile, a cycle later
    output logic [RATE-1:0] fetch,
    output logic signed [15:0] corner_h[RATE],
    output logic signed [15:0] corner_w[RATE],
    output logic [RATE-1:0][15:0] channel,
    input logic [TAPS-1:0][7:0] pixels[RATE],
    // operand windows
    output logic [RATE-1:0] fills,
    output logic [RATE-1:0][15:0] fills_row,
    output logic [RATE-1:0][15:0] fills_position,  // the second window stands behind the first
    output logic [TAPS-1:0][X_BITS-1:0] result[RATE]
);
  localparam int POSITION_BITS = $clog2(WINDOW);
  logic filling, first, slot;
  logic [15:0] cycle, round, first_channel;
  // The tile of each row of lanes in this round: its number, and where it is.
  logic [ROWS-1:0][15:0] tile, tile_h, tile_w;  // packed, so that synthesis takes them for no memory
  logic [ROWS-1:0][15:0] start_h, start_w;
  logic [15:0] next_h, next_w;
  always_comb begin
    next_h = 0;
    next_w = 0;
    for (int i = 0; i < ROWS; i++) begin
      start_h[i] = next_h;
      start_w[i] = next_w;
      next_w = next_w + 1;
      if (next_w == step[TILES_W][15:0]) begin
        next_w = 0;
        next_h = next_h + 1;
      end
    end
  end

  assign window_ready = !window_starts && (!filling || cycle >= settings[FILL][15:0]);
  always_ff @(posedge clk) begin
    lanes_start <= !rst && filling && first && cycle >= settings[FILL][15:0];
    if (rst) begin
      filling <= 0;
    end else if (start || window_starts) begin
      filling <= 1;
      first <= start;
      cycle <= 0;
      first_channel <= start ? 0 : 16'(32'(next_window) * WINDOW);
      slot <= start ? 0 : !slot;
      if (start) begin
        round <= 0;
        tile_h <= start_h;
        tile_w <= start_w;
        for (int i = 0; i < ROWS; i++) tile[i] <= 16'(i);
      end else if (next_round != round) begin
        round <= next_round;
        for (int i = 0; i < ROWS; i++) begin
          tile[i] <= tile[i] + 16'(ROWS);
          if (tile_w[i] + step[STEP_W][15:0] >= step[TILES_W][15:0]) begin
            tile_w[i] <= tile_w[i] + step[STEP_W][15:0] - step[TILES_W][15:0];
            tile_h[i] <= tile_h[i] + step[STEP_H][15:0] + 1;
          end else begin
            tile_w[i] <= tile_w[i] + step[STEP_W][15:0];
            tile_h[i] <= tile_h[i] + step[STEP_H][15:0];
          end
        end
      end
    end else if (filling) begin
      cycle <= cycle + 1;
      if (cycle >= settings[FILL][15:0]) filling <= 0;
    end
  end

  localparam int ROW_BITS = $clog2(ROWS);
  logic [15:0] item[RATE], position[RATE];
  logic [RATE-1:0][ROW_BITS-1:0] row, row1, row2;
  always_comb begin
    for (int u = 0; u < RATE; u++) begin
      item[u] = 16'(32'(cycle) * RATE + u);
      row[u] = ROW_BITS'(item[u] % ROWS);
      position[u] = item[u] / ROWS;
      channel[u] = first_channel + position[u];
      fetch[u] = filling && 32'(position[u]) < WINDOW && channel[u] < step[CHANNELS][15:0]
          && tile[row[u]] < step[POSITIONS][15:0];
      corner_h[u] = tile_h[row[u]] * M - step[PAD_TOP][15:0];
      corner_w[u] = tile_w[row[u]] * M - step[PAD_LEFT][15:0];
    end
  end
  logic [RATE-1:0] fills1;
  logic [RATE-1:0][POSITION_BITS:0] position1, position2;
  always_ff @(posedge clk) begin
    fills1 <= fetch;
    fills <= fills1;
    row1 <= row;
    row2 <= row1;
    for (int u = 0; u < RATE; u++) position1[u] <= (POSITION_BITS + 1)'((slot ? WINDOW : 0) + 32'(position[u]));
    position2 <= position1;
  end
  always_comb begin
    for (int u = 0; u < RATE; u++) begin
      fills_row[u] = 16'(row2[u]);
      fills_position[u] = 16'(position2[u]);
    end
  end
  for (genvar u = 0; u < RATE; u++) begin : transform
    input_transform #(
        .M(M),
        .BITS(X_BITS)
    ) unit (
        .clk,
        .tile(pixels[u]),
        .result(result[u])
    );
  end
endmodule
