// A Winograd-domain machine for 3 x 3 kernels at stride 1: tile control, buffers, input transform unit, lanes, inverse
// transform unit.  TAP_LANES taps x ROWS tiles x COLS filters of lanes: 1 tap lane is tap-serial, N * N tap-parallel.
//
// The input transform unit takes TRANSFORM_RATE tile-channels a cycle, the inverse unit gives INVERSE_RATE tile-filters.
// Each takes 1 cycle to start and 2 to drain.
//
// BANKS > 0: operand windows of WINDOW channels (lane_array).  STREAMED: the input transform stands between the input
// buffer and these windows (streamed_transform), and a step waits for its first.  IN_LANES: instead of an inverse
// transform unit the lanes add each finished tap into their outputs, or the taps side by side go through an adder tree
// (TAP_LANES = N * N), one filter of a lane a cycle (lane_inverse).  A step is done 2 cycles behind its last sums; what
// is left to add then is added behind the next step's start, and a finished output tile stands as many cycles later.
//
// The buffers are behavioural arrays with as many ports as the units use.
//
// LAYERS > 1, a chain of layers (not STREAMED, not IN_LANES): feature maps lie in a memory of their own.  The input
// transform reads its tiles there, except the first layer's; the inverse transform's results, with the operand of an
// addition that rides on them, pass the output path into their map as they come.  The last layer's go to DRAM.
module winograd_machine
  import machine_pkg::*;
#(
    parameter int M = 2,
    parameter int TAP_LANES = 1,
    parameter int SKIP = 1,
    parameter int BANKS = 0,
    parameter int WINDOW = 16,
    parameter int FILTERS_EACH = 1,
    parameter int OUTPUTS_EACH = 1,  // over 1: neither windows nor IN_LANES
    parameter int STREAMED = 0,
    parameter int IN_LANES = 0,
    parameter int LAYERS = 1,
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int TRANSFORM_RATE = 4,
    parameter int INVERSE_RATE = 4,
    parameter int BANDWIDTH = 8,
    parameter int ACC_BITS = 32,
    parameter int RAW_BITS = 48,
    parameter int IN_BYTES = 65536,      // of one slot
    parameter int W_BYTES = 65536,
    parameter int TILE_CHANNELS = 4096,  // rounds x channels of one slot of transformed inputs
    parameter int TILE_FILTERS = 8192,   // rounds x filters of one slot of accumulators
    parameter int OUTPUTS = 65536,
    localparam int N = M + 2,
    localparam int TAPS = N * N,
    localparam int X_BITS = M == 2 ? 10 : 15,
    localparam int STREAMS = TAP_LANES * COLS,
    localparam int PARTS = STREAMS * FILTERS_EACH,
    localparam int MAP_BYTES = LAYERS > 1 ? 131072 : 1,
    localparam int RESULTS = INVERSE_RATE * M * M
) (
    input logic clk,
    input logic rst,
    input logic go,
    input logic host_we,
    input logic [1:0] host_space,
    input logic [15:0] host_index,
    input logic [7:0] host_word,
    input logic [31:0] host_data,
    input logic [31:0] map_read_at,  // the host looks into the map memory
    output logic [7:0] map_read,
    output logic [31:0] steps_computed,
    output logic [31:0] tiles_finished,
    output logic finished,
    output logic compute_start,
    output logic compute_done,
    output logic transform_start,
    output logic transform_done,
    output logic inverse_start,
    output logic inverse_done,
    output logic beat,
    output logic [1:0] beat_kind,
    output logic [31:0] beat_address,
    output logic [31:0] beat_bytes,
    input logic [7:0] read_data[BANDWIDTH],
    output logic [7:0] write_data[BANDWIDTH],
    output logic signed [RAW_BITS-1:0] write_raw[BANDWIDTH]
);
  logic [SETTINGS-1:0][31:0] settings, i_settings, store_settings;
  logic [STEP_WORDS-1:0][31:0] step, t_step, i_step;
  logic inverse_slot;
  logic [31:0] beat_place;
  tile_control #(
      .BANDWIDTH(BANDWIDTH),
      .LAYERS(LAYERS),
      .TRANSFORMS(STREAMED == 0),
      .OUTPUT_UNIT(IN_LANES == 0),
      .OUTPUT_CYCLES(IN_LANES != 0 ? FILTERS_EACH - 1 : 0)
  ) control (
      .clk, .rst, .go, .host_we, .host_space, .host_index, .host_word, .host_data,
      .settings, .inverse_settings(i_settings), .store_settings, .steps_computed, .tiles_finished, .finished,
      .beat, .beat_kind, .beat_address, .beat_place, .beat_bytes,
      .transform_start, .compute_start, .inverse_start, .transform_done, .compute_done, .inverse_done,
      .transform_step(t_step), .compute_step(step), .inverse_step(i_step), .inverse_slot
  );

  // Buffers: two slots each.
  logic signed [7:0] inputs[2*IN_BYTES];
  logic [7:0] weights[2*W_BYTES];
  logic signed [X_BITS-1:0] transformed[2*TILE_CHANNELS*TAPS*ROWS];
  logic signed [ACC_BITS-1:0] sums[2*TILE_FILTERS*TAPS*ROWS];
  logic signed [RAW_BITS-1:0] outputs[2*OUTPUTS];
  logic signed [7:0] maps[MAP_BYTES];
  assign map_read = LAYERS > 1 ? maps[map_read_at] : 0;

  always_ff @(posedge clk) begin
    if (beat) begin
      for (int b = 0; b < BANDWIDTH; b++) begin
        if (b < beat_bytes) begin
          if (beat_kind == 0) inputs[beat_place+b] <= read_data[b];
          if (beat_kind == 1) weights[beat_place+b] <= read_data[b];
        end
      end
    end
  end
  always_comb begin
    for (int b = 0; b < BANDWIDTH; b++) write_raw[b] = outputs[beat_place+b];
  end
  output_path #(
      .BANDWIDTH(BANDWIDTH),
      .BITS(RAW_BITS)
  ) path (
      .shift(store_settings[OUT_SHIFT][5:0]),
      .relu(store_settings[RELU][0]),
      .value(write_raw),
      .result(write_data)
  );

  typedef struct packed {
    logic [15:0] channel, tile_h, tile_w;
    logic [31:0] tile;
  } item_t;
  logic lanes_start, lanes_done, window_ready, window_starts, operand_slot;
  logic [15:0] next_round, next_window;
  if (STREAMED == 0) begin : stored
  // Input transform: tile-channels in order, channels innermost.  at[i] is the i-th of this cycle.
  item_t t_at[TRANSFORM_RATE+1], t_next;
  logic t_running, t_last;
  logic t_first_done, t_second_done;  // pipeline: the last tile-channels are in the first, second pass
  logic t_valid[TRANSFORM_RATE], t_valid1[TRANSFORM_RATE], t_valid2[TRANSFORM_RATE];
  logic [31:0] t_to[TRANSFORM_RATE], t_to1[TRANSFORM_RATE], t_to2[TRANSFORM_RATE];
  logic [TAPS-1:0][7:0] pixels[TRANSFORM_RATE];
  logic [TAPS-1:0][X_BITS-1:0] t_result[TRANSFORM_RATE];
  int t_h[TRANSFORM_RATE][TAPS], t_w[TRANSFORM_RATE][TAPS];

  always_comb begin
    t_at[0] = t_next;
    for (int u = 0; u < TRANSFORM_RATE; u++) begin
      t_at[u+1] = t_at[u];
      t_at[u+1].channel = t_at[u].channel + 1;
      if (32'(t_at[u].channel) + 1 == t_step[CHANNELS]) begin
        t_at[u+1].channel = 0;
        t_at[u+1].tile = t_at[u].tile + 1;
        t_at[u+1].tile_w = t_at[u].tile_w + 1;
        if (32'(t_at[u].tile_w) + 1 == t_step[TILES_W]) begin
          t_at[u+1].tile_w = 0;
          t_at[u+1].tile_h = t_at[u].tile_h + 1;
        end
      end
      t_valid[u] = t_running && t_at[u].tile < t_step[POSITIONS];
      t_to[u] = (t_step[X_AT] + t_at[u].tile / ROWS * t_step[CHANNELS] + 32'(t_at[u].channel)) * TAPS * ROWS
          + t_at[u].tile % ROWS;
    end
    t_last = t_running && t_at[TRANSFORM_RATE].tile >= t_step[POSITIONS];
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      {t_running, t_first_done, t_second_done} <= 0;
    end else begin
      if (transform_start) begin
        t_running <= 1;
        t_next <= 0;
      end else if (t_running) begin
        t_next <= t_at[TRANSFORM_RATE];
        if (t_last) t_running <= 0;
      end
      t_first_done <= t_last;
      t_second_done <= t_first_done;
    end
    for (int u = 0; u < TRANSFORM_RATE; u++) begin
      for (int tap = 0; tap < TAPS; tap++) begin
        if (t_h[u][tap] >= 0 && t_h[u][tap] < t_step[TILE_H] && t_w[u][tap] >= 0 && t_w[u][tap] < t_step[TILE_W]
            && t_valid[u])
          pixels[u][tap] <= LAYERS > 1 && t_step[FLAGS][6]
              ? maps[t_step[IN_AT]+(t_h[u][tap]*t_step[IN_PITCH]+t_w[u][tap])*t_step[IN_DEPTH]+32'(t_at[u].channel)]
              : inputs[t_step[IN_AT]+(t_h[u][tap]*t_step[IN_PITCH]+t_w[u][tap])*t_step[IN_DEPTH]+32'(t_at[u].channel)];
        else pixels[u][tap] <= 0;
        if (t_valid2[u]) transformed[t_to2[u]+tap*ROWS] <= t_result[u][tap];
      end
    end
    t_valid1 <= t_valid;
    t_valid2 <= t_valid1;
    t_to1 <= t_to;
    t_to2 <= t_to1;
  end
  assign transform_done = t_second_done;
  always_comb begin
    for (int u = 0; u < TRANSFORM_RATE; u++) begin
      for (int tap = 0; tap < TAPS; tap++) begin
        t_h[u][tap] = 32'(t_at[u].tile_h) * M + tap / N - t_step[PAD_TOP];
        t_w[u][tap] = 32'(t_at[u].tile_w) * M + tap % N - t_step[PAD_LEFT];
      end
    end
  end
  for (genvar u = 0; u < TRANSFORM_RATE; u++) begin : transform
    input_transform #(
        .M(M),
        .BITS(X_BITS)
    ) unit (
        .clk,
        .tile(pixels[u]),
        .result(t_result[u])
    );
  end
    assign lanes_start = compute_start;
    assign window_ready = 1;
  end else begin : streamed
    logic [TRANSFORM_RATE-1:0] fetch, fills;
    logic signed [15:0] corner_h[TRANSFORM_RATE], corner_w[TRANSFORM_RATE];
    logic [TRANSFORM_RATE-1:0][15:0] channel, fills_row, fills_position;
    logic [TAPS-1:0][7:0] pixels[TRANSFORM_RATE];
    logic [TAPS-1:0][X_BITS-1:0] result[TRANSFORM_RATE];
    int h[TRANSFORM_RATE][TAPS], w[TRANSFORM_RATE][TAPS];
    assign transform_done = 0;
    streamed_transform #(
        .M(M),
        .ROWS(ROWS),
        .RATE(TRANSFORM_RATE),
        .WINDOW(WINDOW),
        .X_BITS(X_BITS)
    ) units (
        .clk, .rst, .start(compute_start), .step, .settings, .lanes_start,
        .window_starts, .next_round, .next_window, .window_ready,
        .fetch, .corner_h, .corner_w, .channel, .pixels,
        .fills, .fills_row, .fills_position, .result
    );
    always_comb begin
      for (int u = 0; u < TRANSFORM_RATE; u++) begin
        for (int tap = 0; tap < TAPS; tap++) begin
          h[u][tap] = 32'(corner_h[u]) + tap / N;
          w[u][tap] = 32'(corner_w[u]) + tap % N;
        end
      end
    end
    always_ff @(posedge clk) begin
      for (int u = 0; u < TRANSFORM_RATE; u++) begin
        for (int tap = 0; tap < TAPS; tap++) begin
          if (fetch[u] && h[u][tap] >= 0 && h[u][tap] < step[TILE_H] && w[u][tap] >= 0 && w[u][tap] < step[TILE_W])
            pixels[u][tap] <= inputs[step[IN_AT]+(h[u][tap]*step[IN_PITCH]+w[u][tap])*step[IN_DEPTH]+32'(channel[u])];
          else pixels[u][tap] <= 0;
          if (fills[u])
            transformed[(32'(fills_position[u])*TAPS+tap)*ROWS+32'(fills_row[u])] <= result[u][tap];
        end
      end
    end
  end

  // Lanes
  logic [23:0] count_at[PARTS], record_at[PARTS];
  logic [31:0] count_word[PARTS], record_word[PARTS];
  logic [15:0] index[STREAMS];
  logic [15:0] operand_round, operand_taps, write_round, write_filter, write_tap;
  logic round_ends, write;
  logic signed [X_BITS-1:0] operand[STREAMS][ROWS];
  logic signed [ACC_BITS-1:0] sum[PARTS][ROWS];
  logic [31:0] w_base, x_base, sum_base;
  assign w_base = step[W_AT];
  assign x_base = step[X_AT] * TAPS * ROWS;
  assign sum_base = step[OUT_INDEX][0] ? TILE_FILTERS * TAPS * ROWS : 0;

  lane_array #(
      .ROWS(ROWS),
      .COLS(COLS),
      .TAP_LANES(TAP_LANES),
      .TAPS(TAPS),
      .X_BITS(X_BITS),
      .ACC_BITS(ACC_BITS),
      .SKIP(SKIP),
      .BANKS(BANKS),
      .FILTERS_EACH(FILTERS_EACH),
      .OUTPUTS_EACH(OUTPUTS_EACH),
      .TAP_CYCLES(IN_LANES != 0 ? FILTERS_EACH : 1)
  ) lanes (
      .clk, .rst, .start(lanes_start), .step, .settings, .done(lanes_done),
      .count_at, .count_word, .record_at, .record_word,
      .index, .operand_round, .operand_taps, .round_ends, .operand,
      .window_ready, .window_starts, .next_round, .next_window, .operand_slot,
      .write, .write_round, .write_filter, .write_tap, .sum
  );

  function automatic logic [31:0] window(input logic [31:0] base, input logic [23:0] bit_at);
    logic [31:0] at;
    at = base + 32'(bit_at[23:3]);
    return 32'({weights[at+3], weights[at+2], weights[at+1], weights[at]} >> bit_at[2:0]);
  endfunction
  int x_at[STREAMS], sum_at[PARTS], filter_of[PARTS], tap_of[PARTS];
  always_comb for (int u = 0; u < PARTS; u++) count_word[u] = window(w_base, count_at[u]);
  always_comb for (int u = 0; u < PARTS; u++) record_word[u] = window(w_base, record_at[u]);
  always_comb begin
    for (int v = 0; v < STREAMS; v++) begin
      if (STREAMED != 0)
        x_at[v] = ((operand_slot ? WINDOW : 0) * TAPS + 32'(index[v]) % WINDOW * TAPS + 32'(operand_taps) + v / COLS) * ROWS;
      else
        x_at[v] = x_base
            + ((32'(operand_round) * step[CHANNELS] + 32'(index[v])) * TAPS + 32'(operand_taps) + v / COLS) * ROWS;
      for (int i = 0; i < ROWS; i++) operand[v][i] = transformed[x_at[v]+i];
    end
  end
  if (IN_LANES == 0) begin : sums_in_buffer
  always_comb begin
    for (int u = 0; u < PARTS; u++) begin
      filter_of[u] = 32'(write_filter) + u % FILTERS_EACH * COLS + u / FILTERS_EACH % COLS;
      tap_of[u] = 32'(write_tap) + u / FILTERS_EACH / COLS;
      sum_at[u] = sum_base + ((32'(write_round) * step[FILTERS] + filter_of[u]) * TAPS + tap_of[u]) * ROWS;
    end
  end
  always_ff @(posedge clk) begin
    if (write) begin
      for (int u = 0; u < PARTS; u++) begin
        if (filter_of[u] < step[FILTERS] && tap_of[u] < TAPS) begin
          for (int i = 0; i < ROWS; i++) sums[sum_at[u]+i] <= (step[FLAGS][0] ? '0 : sums[sum_at[u]+i]) + sum[u][i];
        end
      end
    end
  end

  assign compute_done = lanes_done;
  // Inverse transform: tile-filters in order, filters innermost.
  item_t i_at[INVERSE_RATE+1], i_next;  // channel: the filter
  item_t i_item1[INVERSE_RATE], i_item2[INVERSE_RATE];
  logic i_running, i_last, i_first_done, i_second_done;
  logic i_valid[INVERSE_RATE], i_valid1[INVERSE_RATE], i_valid2[INVERSE_RATE];
  int i_from[INVERSE_RATE];
  logic [TAPS-1:0][RAW_BITS-1:0] aligned[INVERSE_RATE];
  logic [M*M-1:0][RAW_BITS-1:0] i_result[INVERSE_RATE];

  always_comb begin
    i_at[0] = i_next;
    for (int u = 0; u < INVERSE_RATE; u++) begin
      i_at[u+1] = i_at[u];
      i_at[u+1].channel = i_at[u].channel + 1;
      if (32'(i_at[u].channel) + 1 == i_step[FILTERS]) begin
        i_at[u+1].channel = 0;
        i_at[u+1].tile = i_at[u].tile + 1;
        i_at[u+1].tile_w = i_at[u].tile_w + 1;
        if (32'(i_at[u].tile_w) + 1 == i_step[TILES_W]) begin
          i_at[u+1].tile_w = 0;
          i_at[u+1].tile_h = i_at[u].tile_h + 1;
        end
      end
      i_valid[u] = i_running && i_at[u].tile < i_step[POSITIONS];
      i_from[u] = (inverse_slot ? TILE_FILTERS * TAPS * ROWS : 0)
          + ((i_at[u].tile / ROWS * i_step[FILTERS] + 32'(i_at[u].channel)) * TAPS) * ROWS + i_at[u].tile % ROWS;
    end
    i_last = i_running && i_at[INVERSE_RATE].tile >= i_step[POSITIONS];
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      {i_running, i_first_done, i_second_done} <= 0;
    end else begin
      if (inverse_start) begin
        i_running <= 1;
        i_next <= 0;
      end else if (i_running) begin
        i_next <= i_at[INVERSE_RATE];
        if (i_last) i_running <= 0;
      end
      i_first_done <= i_last;
      i_second_done <= i_first_done;
    end
    for (int u = 0; u < INVERSE_RATE; u++) begin
      for (int tap = 0; tap < TAPS; tap++) begin
        if (i_valid[u]) aligned[u][tap] <= RAW_BITS'(sums[i_from[u]+tap*ROWS]) <<< i_settings[TAP_SHIFT+tap][4:0];
      end
      i_item1[u] <= i_at[u];
      if (i_valid2[u]) begin
        for (int o = 0; o < M * M; o++) begin
          if (32'(i_item2[u].tile_h) * M + o / M < i_step[OUT_H] && 32'(i_item2[u].tile_w) * M + o % M < i_step[OUT_W]
              && !(LAYERS > 1 && !i_step[FLAGS][4])) begin
            outputs[(i_step[OUT_INDEX][0] ? OUTPUTS : 0)
                + ((32'(i_item2[u].tile_h)*M+o/M)*i_step[OUT_W]+32'(i_item2[u].tile_w)*M+o%M)*i_step[FILTERS]
                + 32'(i_item2[u].channel)] <= i_sum[u*M*M+o];
          end
        end
      end
    end
    i_item2 <= i_item1;
    i_valid1 <= i_valid;
    i_valid2 <= i_valid1;
  end
  assign inverse_done = i_second_done;

  // Results with the operand of an addition, and on their way into a map.
  logic signed [RAW_BITS-1:0] i_sum[RESULTS];
  if (LAYERS > 1) begin : chain
    logic [31:0] out_h[RESULTS], out_w[RESULTS], place[RESULTS];
    logic [7:0] map_byte[RESULTS];
    always_comb begin
      for (int u = 0; u < INVERSE_RATE; u++) begin
        for (int o = 0; o < M * M; o++) begin
          out_h[u*M*M+o] = 32'(i_item2[u].tile_h) * M + o / M;
          out_w[u*M*M+o] = 32'(i_item2[u].tile_w) * M + o % M;
          place[u*M*M+o] = (out_h[u*M*M+o] * i_step[MAP_PITCH] + out_w[u*M*M+o]) * i_step[MAP_DEPTH]
              + 32'(i_item2[u].channel);
          i_sum[u*M*M+o] = i_result[u][o] + (!i_step[FLAGS][5] ? '0
              : RAW_BITS'(maps[i_step[OPERAND_AT]+place[u*M*M+o]]) <<< i_settings[OPERAND_SHIFT][4:0]);
        end
      end
    end
    output_path #(
        .BANDWIDTH(RESULTS),
        .BITS(RAW_BITS)
    ) map_path (
        .shift(i_settings[OUT_SHIFT][5:0]),
        .relu(i_settings[RELU][0]),
        .value(i_sum),
        .result(map_byte)
    );
    always_ff @(posedge clk) begin
      for (int u = 0; u < RESULTS; u++) begin
        if (i_valid2[u/(M*M)] && !i_step[FLAGS][4] && out_h[u] < i_step[OUT_H] && out_w[u] < i_step[OUT_W])
          maps[i_step[MAP_AT]+place[u]] <= map_byte[u];
      end
    end
  end else begin : one_layer
    always_comb begin
      for (int u = 0; u < INVERSE_RATE; u++) for (int o = 0; o < M * M; o++) i_sum[u*M*M+o] = i_result[u][o];
    end
  end
  for (genvar u = 0; u < INVERSE_RATE; u++) begin : inverse
    inverse_transform #(
        .M(M),
        .BITS(RAW_BITS)
    ) unit (
        .clk,
        .tile(aligned[u]),
        .result(i_result[u])
    );
  end
  end else begin : in_lanes
    logic signed [RAW_BITS-1:0] result[COLS][ROWS][M*M];
    logic result_valid, done1, done2;
    logic [15:0] result_round, result_filter;
    logic [STEP_WORDS-1:0][31:0] result_step;
    assign inverse_done = 0;
    inverse_in_lanes #(
        .M(M),
        .TAP_LANES(TAP_LANES),
        .FILTERS_EACH(FILTERS_EACH),
        .ROWS(ROWS),
        .COLS(COLS),
        .ACC_BITS(ACC_BITS),
        .BITS(RAW_BITS)
    ) transforms (
        .clk, .rst, .settings, .step, .write, .write_round, .write_filter, .write_tap, .sum,
        .result_valid, .result_step, .result_round, .result_filter, .result
    );

    int place[ROWS][M*M], result_base;
    logic in_tile[ROWS][M*M];
    always_comb begin
      result_base = result_step[OUT_INDEX][0] ? OUTPUTS : 0;
      for (int i = 0; i < ROWS; i++) begin
        for (int o = 0; o < M * M; o++) begin
          place[i][o] = ((32'(result_round) * ROWS + i) / result_step[TILES_W] * M + o / M) * result_step[OUT_W]
              + (32'(result_round) * ROWS + i) % result_step[TILES_W] * M + o % M;
          in_tile[i][o] = 32'(result_round) * ROWS + i < result_step[POSITIONS]
              && (32'(result_round) * ROWS + i) / result_step[TILES_W] * M + o / M < result_step[OUT_H]
              && (32'(result_round) * ROWS + i) % result_step[TILES_W] * M + o % M < result_step[OUT_W];
        end
      end
    end
    always_ff @(posedge clk) begin
      done1 <= lanes_done && !rst;
      done2 <= done1 && !rst;
      if (result_valid) begin
        for (int v = 0; v < COLS; v++) begin
          for (int i = 0; i < ROWS; i++) begin
            for (int o = 0; o < M * M; o++) begin
              if (32'(result_filter) + v < result_step[FILTERS] && in_tile[i][o])
                outputs[result_base+place[i][o]*result_step[FILTERS]+32'(result_filter)+v] <= (result_step[FLAGS][0] ? '0
                    : outputs[result_base+place[i][o]*result_step[FILTERS]+32'(result_filter)+v]) + result[v][i][o];
            end
          end
        end
      end
    end
    assign compute_done = done2;
  end
endmodule
