// A spatial-domain machine: tile control, buffers, and an array of ROWS x COLS lanes.
//
// DATAFLOW 0, output-stationary: a row of lanes computes one output position, a column one filter (lane_array).
// DATAFLOW 1, weight-stationary: a column holds ROWS weights of one filter, positions stream past (weight_stationary).
// The buffers are behavioural arrays with as many ports as the lanes use: a weight port a column, an input port a lane.
//
// LAYERS > 1, a chain of layers: feature maps lie in a memory of their own.  A layer reads its inputs there, except the
// first; its finished sums pass the output path into its map as the lanes write them, or, where an addition rides on
// them, behind VECTOR_LANES lanes, that add the second operand from the map memory to a finished output tile.  The last
// layer's outputs go to DRAM.
module spatial_machine
  import machine_pkg::*;
#(
    parameter int DATAFLOW = 0,
    parameter int SKIP = 1,
    parameter int BANKS = 0,            // of operand windows, 0 without
    parameter int FILTERS_EACH = 1,
    parameter int OUTPUTS_EACH = 1,
    parameter int LAYERS = 1,
    parameter int VECTOR_LANES = 16,
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int BANDWIDTH = 8,
    parameter int ACC_BITS = 32,
    parameter int RAW_BITS = 48,
    parameter int IN_BYTES = 65536,   // of one slot
    parameter int W_BYTES = 65536,
    parameter int OUTPUTS = 65536,
    localparam int MAP_BYTES = LAYERS > 1 ? 131072 : 1,
    localparam int MAP_PORTS = DATAFLOW == 0 ? ROWS * COLS * FILTERS_EACH : COLS
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
  logic [SETTINGS-1:0][31:0] settings, vector_settings, store_settings;
  logic [STEP_WORDS-1:0][31:0] step, vector_step;
  logic [31:0] beat_place;
  /* verilator lint_off PINCONNECTEMPTY */
  tile_control #(
      .BANDWIDTH(BANDWIDTH),
      .LAYERS(LAYERS),
      .TRANSFORMS(0),
      .OUTPUT_UNIT(LAYERS > 1 ? 2 : 0)
  ) control (
      .clk, .rst, .go, .host_we, .host_space, .host_index, .host_word, .host_data,
      .settings, .inverse_settings(vector_settings), .store_settings, .steps_computed, .tiles_finished, .finished,
      .beat, .beat_kind, .beat_address, .beat_place, .beat_bytes,
      .transform_start, .compute_start, .inverse_start,
      .transform_done(1'b0), .compute_done, .inverse_done,
      .transform_step(), .compute_step(step), .inverse_step(vector_step), .inverse_slot()
  );
  assign transform_done = 0;

  // Buffers
  logic signed [7:0] inputs[2*IN_BYTES];
  logic [7:0] weights[2*W_BYTES];
  logic signed [ACC_BITS-1:0] outputs[2*OUTPUTS];
  logic signed [7:0] maps[MAP_BYTES];
  logic [31:0] in_base, w_base, out_base;
  logic in_map, to_map;
  assign in_base = step[IN_AT];
  assign w_base = step[W_AT];
  assign out_base = step[OUT_INDEX][0] ? OUTPUTS : 0;
  assign in_map = LAYERS > 1 && step[FLAGS][6];
  assign to_map = LAYERS > 1 && step[FLAGS][1] && step[FLAGS][5:4] == 0;

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
    for (int b = 0; b < BANDWIDTH; b++) begin
      write_raw[b] = RAW_BITS'(outputs[beat_place+b]);
    end
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

  // Finished sums on their way into a map, in the cycle in which the lanes write them; and those of the vector lanes.
  logic map_valid[MAP_PORTS];
  logic [31:0] map_position[MAP_PORTS], map_filter[MAP_PORTS];
  logic signed [ACC_BITS-1:0] map_sum[MAP_PORTS];
  logic vector_valid[VECTOR_LANES];
  logic [31:0] vector_at[VECTOR_LANES];  // in the output buffer
  logic signed [ACC_BITS-1:0] vector_sum[VECTOR_LANES];
  if (LAYERS > 1) begin : chain
    function automatic logic [31:0] in_a_map(
        input logic [STEP_WORDS-1:0][31:0] of, input logic [31:0] position, input logic [31:0] filter);
      return (position / of[OUT_W] * of[MAP_PITCH] + position % of[OUT_W]) * of[MAP_DEPTH] + filter;
    endfunction
    logic [7:0] map_byte[MAP_PORTS], vector_byte[VECTOR_LANES];
    logic [31:0] map_at[MAP_PORTS];
    always_comb for (int u = 0; u < MAP_PORTS; u++) map_at[u] = step[MAP_AT] + in_a_map(step, map_position[u], map_filter[u]);
    output_path #(
        .BANDWIDTH(MAP_PORTS),
        .BITS(ACC_BITS)
    ) lanes_path (
        .shift(settings[OUT_SHIFT][5:0]),
        .relu(settings[RELU][0]),
        .value(map_sum),
        .result(map_byte)
    );

    // Vector lanes: the elements of a finished output tile in order, from the cycle on in which the tile is taken.
    logic running;
    logic [31:0] next, at, elements, element[VECTOR_LANES], place[VECTOR_LANES];
    assign at = inverse_start ? 0 : next;
    assign elements = vector_step[POSITIONS] * vector_step[FILTERS];
    assign inverse_done = (inverse_start || running) && at + VECTOR_LANES >= elements;
    always_ff @(posedge clk) begin
      running <= !rst && (inverse_start || running) && !inverse_done;
      next <= at + VECTOR_LANES;
    end
    always_comb begin
      for (int v = 0; v < VECTOR_LANES; v++) begin
        element[v] = at + v;
        vector_valid[v] = (inverse_start || running) && element[v] < elements;
        vector_at[v] = (vector_step[OUT_INDEX][0] ? OUTPUTS : 0) + element[v];
        place[v] = in_a_map(vector_step, element[v] / vector_step[FILTERS], element[v] % vector_step[FILTERS]);
        vector_sum[v] = outputs[vector_at[v]]
            + (ACC_BITS'(maps[vector_step[OPERAND_AT]+place[v]]) <<< vector_settings[OPERAND_SHIFT][4:0]);
      end
    end
    output_path #(
        .BANDWIDTH(VECTOR_LANES),
        .BITS(ACC_BITS)
    ) vector_path (
        .shift(vector_settings[OUT_SHIFT][5:0]),
        .relu(vector_settings[RELU][0]),
        .value(vector_sum),
        .result(vector_byte)
    );
    always_ff @(posedge clk) begin
      for (int u = 0; u < MAP_PORTS; u++) if (map_valid[u]) maps[map_at[u]] <= map_byte[u];
      for (int v = 0; v < VECTOR_LANES; v++)
        if (vector_valid[v] && !vector_step[FLAGS][4]) maps[vector_step[MAP_AT]+place[v]] <= vector_byte[v];
    end
    assign map_read = maps[map_read_at];
  end else begin : one_layer
    assign inverse_done = 0;
    assign map_read = 0;
  end

  if (DATAFLOW == 0) begin : output_stationary
    localparam int PARTS = COLS * FILTERS_EACH;
    logic [23:0] count_at[PARTS], record_at[PARTS];
    logic [31:0] count_word[PARTS], record_word[PARTS];
    logic [15:0] index[COLS];
    logic [15:0] operand_round, operand_taps, write_round, write_filter, write_tap;
    logic round_ends, write;
    logic signed [7:0] operand[COLS][ROWS];
    logic signed [ACC_BITS-1:0] sum[PARTS][ROWS];

    lane_array #(
        .ROWS(ROWS),
        .COLS(COLS),
        .X_BITS(8),
        .ACC_BITS(ACC_BITS),
        .SKIP(SKIP),
        .BANKS(BANKS),
        .FILTERS_EACH(FILTERS_EACH),
        .OUTPUTS_EACH(OUTPUTS_EACH)
    ) lanes (
        .clk, .rst, .start(compute_start), .step, .settings, .done(compute_done),
        .count_at, .count_word, .record_at, .record_word,
        .index, .operand_round, .operand_taps, .round_ends, .operand,
        .window_ready(1'b1), .window_starts(), .next_round(), .next_window(), .operand_slot(),
        .write, .write_round, .write_filter, .write_tap, .sum
    );

    function automatic logic [31:0] window(input logic [31:0] base, input logic [23:0] bit_at);
      logic [31:0] at;
      at = base + 32'(bit_at[23:3]);
      return 32'({weights[at+3], weights[at+2], weights[at+1], weights[at]} >> bit_at[2:0]);
    endfunction
    always_comb for (int j = 0; j < PARTS; j++) count_word[j] = window(w_base, count_at[j]);
    always_comb for (int j = 0; j < PARTS; j++) record_word[j] = window(w_base, record_at[j]);

    // Each row's output position, moved on by ROWS positions after each round.
    logic [15:0] row_h[ROWS], row_w[ROWS], start_h[ROWS], start_w[ROWS];
    logic [31:0] round_first;  // position of row 0
    if (OUTPUTS_EACH > 1) begin : rounds_in_turn
      assign round_first = 32'(operand_round) * ROWS;
      always_comb begin
        for (int i = 0; i < ROWS; i++) begin
          row_h[i] = 16'((round_first + i) / step[OUT_W]);
          row_w[i] = 16'((round_first + i) % step[OUT_W]);
        end
      end
    end else begin : rounds_in_order
    always_comb begin
      start_h[0] = 0;
      start_w[0] = 0;
      for (int i = 1; i < ROWS; i++) begin
        start_h[i] = start_h[i-1];
        start_w[i] = start_w[i-1] + 1;
        if (32'(start_w[i]) == step[OUT_W]) begin
          start_w[i] = 0;
          start_h[i] = start_h[i-1] + 1;
        end
      end
    end
    always_ff @(posedge clk) begin
      if (compute_start) begin
        row_h <= start_h;
        row_w <= start_w;
        round_first <= 0;
      end else if (round_ends) begin
        round_first <= round_first + ROWS;
        for (int i = 0; i < ROWS; i++) begin
          if (32'(row_w[i]) + step[STEP_W] >= step[OUT_W]) begin
            row_w[i] <= row_w[i] + step[STEP_W][15:0] - step[OUT_W][15:0];
            row_h[i] <= row_h[i] + step[STEP_H][15:0] + 1;
          end else begin
            row_w[i] <= row_w[i] + step[STEP_W][15:0];
            row_h[i] <= row_h[i] + step[STEP_H][15:0];
          end
        end
      end
    end
    end

    // The pixel under each lane; zero outside the image.
    int r[COLS], s[COLS], c[COLS], h[COLS][ROWS], w[COLS][ROWS];
    always_comb begin
      for (int j = 0; j < COLS; j++) begin
        s[j] = 32'(index[j]) & ((1 << settings[S_BITS]) - 1);
        r[j] = (32'(index[j]) >> settings[S_BITS]) & ((1 << settings[R_BITS]) - 1);
        c[j] = 32'(index[j]) >> (settings[S_BITS] + settings[R_BITS]);
        for (int i = 0; i < ROWS; i++) begin
          h[j][i] = 32'(row_h[i]) * settings[STRIDE] + r[j] - step[PAD_TOP];
          w[j][i] = 32'(row_w[i]) * settings[STRIDE] + s[j] - step[PAD_LEFT];
          if (h[j][i] >= 0 && h[j][i] < step[TILE_H] && w[j][i] >= 0 && w[j][i] < step[TILE_W]
              && round_first + i < step[POSITIONS])
            operand[j][i] = in_map ? maps[in_base+(h[j][i]*step[IN_PITCH]+w[j][i])*step[IN_DEPTH]+c[j]]
                : inputs[in_base+(h[j][i]*step[IN_PITCH]+w[j][i])*step[IN_DEPTH]+c[j]];
          else operand[j][i] = 0;
        end
      end
    end

    // Sums go to the output buffer, on top of those of earlier channel tiles.
    if (LAYERS > 1) begin : finished_sums
      always_comb begin
        for (int j = 0; j < PARTS; j++) begin
          for (int i = 0; i < ROWS; i++) begin
            map_position[j*ROWS+i] = 32'(write_round) * ROWS + i;
            map_filter[j*ROWS+i] = 32'(write_filter) + j % FILTERS_EACH * COLS + j / FILTERS_EACH;
            map_valid[j*ROWS+i] = write && to_map && map_filter[j*ROWS+i] < step[FILTERS]
                && map_position[j*ROWS+i] < step[POSITIONS];
            map_sum[j*ROWS+i] = sum[j][i]
                + (step[FLAGS][0] ? '0 : outputs[out_base+map_position[j*ROWS+i]*step[FILTERS]+map_filter[j*ROWS+i]]);
          end
        end
      end
    end
    always_ff @(posedge clk) begin
      if (LAYERS > 1) begin
        for (int v = 0; v < VECTOR_LANES; v++)
          if (vector_valid[v] && vector_step[FLAGS][4]) outputs[vector_at[v]] <= vector_sum[v];
      end
      if (write && !to_map) begin
        for (int f = 0; f < FILTERS_EACH; f++) begin
          for (int j = 0; j < COLS; j++) begin
            for (int i = 0; i < ROWS; i++) begin
              if (32'(write_filter) + f * COLS + j < step[FILTERS] && 32'(write_round) * ROWS + i < step[POSITIONS]) begin
                outputs[out_base+(32'(write_round)*ROWS+i)*step[FILTERS]+32'(write_filter)+f*COLS+j] <= (step[FLAGS][0] ? '0
                    : outputs[out_base+(32'(write_round)*ROWS+i)*step[FILTERS]+32'(write_filter)+f*COLS+j])
                    + sum[j*FILTERS_EACH+f][i];
              end
            end
          end
        end
      end
    end
  end else begin : weight_stationary
    logic [23:0] weight_at[COLS];
    logic signed [7:0] weight[COLS], pixel[ROWS];
    logic [15:0] row_channel[ROWS], row_r[ROWS], row_s[ROWS], out_h, out_w, write_filter;
    logic write, write_first, write_last;
    logic [31:0] write_position;
    logic signed [ACC_BITS-1:0] sum[COLS];

    weight_stationary #(
        .ROWS(ROWS),
        .COLS(COLS),
        .ACC_BITS(ACC_BITS)
    ) array (
        .clk, .rst, .start(compute_start), .step, .settings, .done(compute_done),
        .weight_at, .weight, .row_channel, .row_r, .row_s, .out_h, .out_w, .pixel,
        .write, .write_first, .write_last, .write_position, .write_filter, .sum
    );
    always_comb for (int j = 0; j < COLS; j++) weight[j] = weights[w_base+32'(weight_at[j])];

    int h[ROWS], w[ROWS];
    always_comb begin
      for (int i = 0; i < ROWS; i++) begin
        h[i] = 32'(out_h) * settings[STRIDE] + 32'(row_r[i]) - step[PAD_TOP];
        w[i] = 32'(out_w) * settings[STRIDE] + 32'(row_s[i]) - step[PAD_LEFT];
        if (h[i] >= 0 && h[i] < step[TILE_H] && w[i] >= 0 && w[i] < step[TILE_W])
          pixel[i] = in_map ? maps[in_base+(h[i]*step[IN_PITCH]+w[i])*step[IN_DEPTH]+32'(row_channel[i])]
              : inputs[in_base+(h[i]*step[IN_PITCH]+w[i])*step[IN_DEPTH]+32'(row_channel[i])];
        else pixel[i] = 0;
      end
    end

    if (LAYERS > 1) begin : finished_sums
      always_comb begin
        for (int j = 0; j < COLS; j++) begin
          map_position[j] = write_position;
          map_filter[j] = 32'(write_filter) + j;
          map_valid[j] = write && write_last && to_map && map_filter[j] < step[FILTERS];
          map_sum[j] = sum[j] + (step[FLAGS][0] && write_first ? '0
              : outputs[out_base+write_position*step[FILTERS]+map_filter[j]]);
        end
      end
    end
    always_ff @(posedge clk) begin
      if (LAYERS > 1) begin
        for (int v = 0; v < VECTOR_LANES; v++)
          if (vector_valid[v] && vector_step[FLAGS][4]) outputs[vector_at[v]] <= vector_sum[v];
      end
      if (write && !(to_map && write_last)) begin
        for (int j = 0; j < COLS; j++) begin
          if (32'(write_filter) + j < step[FILTERS]) begin
            outputs[out_base+write_position*step[FILTERS]+32'(write_filter)+j] <=
                (step[FLAGS][0] && write_first ? '0
                 : outputs[out_base+write_position*step[FILTERS]+32'(write_filter)+j]) + sum[j];
          end
        end
      end
    end
  end
endmodule
