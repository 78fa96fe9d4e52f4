// Double-buffered tile control and DMA: two slots each for input tiles, weight tiles, transformed inputs, accumulators
// and output tiles.  The DMA engine works through its program in order, BANDWIDTH bytes a cycle, and waits only for a
// free slot and, where its request says so, for the lanes (loads) or a finished tile (stores).  The units start a step
// as soon as what they read is there and where they write is free.  No cycle is lost between two requests.
//
// A chain of layers is one program: each step names its layer, whose settings hold while it is worked on, and the
// output tiles that must be finished before (those of the layers whose maps it reads on chip).  The slot of a tile that
// is not stored is free when the tile is finished.  OUTPUT_UNIT = 2: tiles on which an addition rides pass the vector
// lanes, in the output buffer; others are finished when the lanes are done with them.
module tile_control
  import machine_pkg::*;
#(
    parameter int BANDWIDTH = 8,
    parameter int MAX_STEPS = 1024,
    parameter int LAYERS = 1,
    parameter int TRANSFORMS = 0,        // inputs pass through a transform unit
    parameter int OUTPUT_UNIT = TRANSFORMS,  // 1: results pass through an inverse transform unit, 2: vector lanes
    parameter int OUTPUT_CYCLES = 0      // 0 of these: that an output tile stands behind its last step
) (
    input logic clk,
    input logic rst,
    input logic go,
    // host
    input logic host_we,
    input logic [1:0] host_space,  // 0: settings, 1: steps, 2: DMA program
    input logic [15:0] host_index,
    input logic [7:0] host_word,
    input logic [31:0] host_data,
    output logic [SETTINGS-1:0][31:0] settings,          // of the layer that the lanes work on
    output logic [SETTINGS-1:0][31:0] inverse_settings,  // of that of the inverse unit or the vector lanes
    output logic [SETTINGS-1:0][31:0] store_settings,    // of the last layer, the only one whose outputs are stored
    output logic [31:0] steps_computed,
    output logic [31:0] tiles_finished,
    output logic finished,
    // DMA beat of this cycle
    output logic beat,
    output logic [1:0] beat_kind,
    output logic [31:0] beat_address,  // in DRAM
    output logic [31:0] beat_place,    // in the buffer
    output logic [31:0] beat_bytes,
    // units: start is high in the first cycle of a step, done in the last
    output logic transform_start,
    output logic compute_start,
    output logic inverse_start,
    input logic transform_done,
    input logic compute_done,
    input logic inverse_done,
    output logic [STEP_WORDS-1:0][31:0] transform_step,
    output logic [STEP_WORDS-1:0][31:0] compute_step,
    output logic [STEP_WORDS-1:0][31:0] inverse_step,
    output logic inverse_slot
);
  logic [SETTINGS-1:0][31:0] first_settings;  // of layer 0
  logic [STEP_WORDS-1:0][31:0] steps[MAX_STEPS];
  logic [DMA_WORDS-1:0][31:0] requests[4*MAX_STEPS];

  always_ff @(posedge clk) begin
    if (host_we) begin
      case (host_space)
        0: ;  // below
        1: steps[host_index][host_word] <= host_data;
        default: requests[host_index][host_word[2:0]] <= host_data;
      endcase
    end
  end

  // Tiles so far: loaded into, or freed in, each kind of slot; computed, finished.
  logic [31:0] in_loaded, in_freed, w_loaded, w_freed, transformed, transformed_freed;
  logic [31:0] acc_done, out_done, out_freed;
  logic [31:0] t_step, c_step, i_step;

  // DMA
  logic [31:0] request, moved;
  logic [DMA_WORDS-1:0][31:0] now;
  logic ready, last_beat;
  assign now = requests[request[15:0]];
  always_comb begin
    case (now[KIND])
      0: ready = in_loaded < in_freed + 2 && now[WAIT] <= c_step;
      1: ready = w_loaded < w_freed + 2 && now[WAIT] <= c_step;
      default: ready = now[WAIT] <= out_done;
    endcase
  end
  assign finished = request == first_settings[REQUESTS];
  assign beat = go && !finished && (moved != 0 || ready);
  assign last_beat = moved + BANDWIDTH >= now[BYTES];
  assign beat_kind = now[KIND][1:0];
  assign beat_address = now[ADDRESS] + moved;
  assign beat_place = now[PLACE] + moved;
  assign beat_bytes = last_beat ? now[BYTES] - moved : BANDWIDTH;

  always_ff @(posedge clk) begin
    if (rst) begin
      request <= 0;
      moved <= 0;
      in_loaded <= 0;
      w_loaded <= 0;
    end else if (beat) begin
      moved <= last_beat ? 0 : moved + BANDWIDTH;
      if (last_beat) begin
        request <= request + 1;
        if (beat_kind == 0) in_loaded <= in_loaded + 1;
        if (beat_kind == 1) w_loaded <= w_loaded + 1;
      end
    end
  end

  // Units
  logic t_busy, c_busy, i_busy;
  assign transform_step = steps[t_step[15:0]];
  assign compute_step = steps[c_step[15:0]];
  assign inverse_step = steps[i_step[15:0]];
  assign inverse_slot = out_done[0];
  assign steps_computed = c_step;
  assign tiles_finished = out_done;
  if (LAYERS == 1) begin : one_layer
    always_ff @(posedge clk) if (host_we && host_space == 0) first_settings[host_word[5:0]] <= host_data;
    assign settings = first_settings;
    assign inverse_settings = first_settings;
    assign store_settings = first_settings;
  end else begin : chain
    logic [SETTINGS-1:0][31:0] settings_of[LAYERS];
    always_ff @(posedge clk) if (host_we && host_space == 0) settings_of[host_index][host_word[5:0]] <= host_data;
    assign first_settings = settings_of[0];
    assign settings = settings_of[compute_step[LAYER]];
    assign inverse_settings = settings_of[inverse_step[LAYER]];
    assign store_settings = settings_of[LAYERS-1];
  end

  logic inputs_ready, outputs_free;
  assign inputs_ready = (TRANSFORMS != 0 ? compute_step[IN_INDEX] < transformed
      : compute_step[FLAGS][6] || compute_step[IN_INDEX] < in_loaded) && compute_step[AFTER] <= out_done;
  assign outputs_free = compute_step[OUT_INDEX] < (OUTPUT_UNIT == 1 ? out_done : out_freed) + 2;
  assign compute_start = go && !c_busy && c_step < first_settings[STEPS] && inputs_ready
      && compute_step[W_INDEX] < w_loaded && (!compute_step[FLAGS][0] || outputs_free);
  assign transform_start = TRANSFORMS != 0 && go && !t_busy && t_step < first_settings[STEPS]
      && (transform_step[FLAGS][6] || transformed < in_loaded) && transform_step[AFTER] <= out_done
      && transformed < transformed_freed + 2;
  assign inverse_start = OUTPUT_UNIT != 0 && go && !i_busy && i_step < first_settings[STEPS] && out_done < acc_done
      && (OUTPUT_UNIT == 1 ? out_done < out_freed + 2 : inverse_step[FLAGS][5]);

  // A tile that has been computed; the next one is finished, and may not be stored.
  logic computed, passes, out_finishes, stays;
  logic stands, stands_stays;  // OUTPUT_UNIT = 0: OUTPUT_CYCLES behind the step
  assign computed = compute_done && compute_step[FLAGS][1];
  assign passes = OUTPUT_UNIT == 2 && !inverse_step[FLAGS][5] && !i_busy && (out_done < acc_done || computed);
  assign out_finishes = OUTPUT_UNIT == 0 ? stands : inverse_done || passes;
  assign stays = OUTPUT_UNIT == 0 ? stands_stays : !inverse_step[FLAGS][4];
  if (OUTPUT_CYCLES == 0) begin : at_once
    assign stands = computed;
    assign stands_stays = !compute_step[FLAGS][4];
  end else begin : later
    logic [OUTPUT_CYCLES-1:0] tile, of_chip;  // the newest in the lowest bit
    assign stands = tile[OUTPUT_CYCLES-1];
    assign stands_stays = of_chip[OUTPUT_CYCLES-1];
    always_ff @(posedge clk) begin
      tile <= rst ? 0 : OUTPUT_CYCLES'({tile, computed});
      of_chip <= OUTPUT_CYCLES'({of_chip, !compute_step[FLAGS][4]});
    end
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      t_step <= 0;
      c_step <= 0;
      i_step <= first_settings[FIRST_OUT];
      {t_busy, c_busy, i_busy} <= 0;
      in_freed <= 0;
      w_freed <= 0;
      transformed <= 0;
      transformed_freed <= 0;
      acc_done <= 0;
      out_done <= 0;
      out_freed <= 0;
    end else begin
      if (compute_start) c_busy <= 1;
      if (transform_start) t_busy <= 1;
      if (inverse_start) i_busy <= 1;
      if (compute_done) begin
        c_busy <= 0;
        c_step <= c_step + 1;
        if (compute_step[FLAGS][2]) begin
          if (TRANSFORMS != 0) transformed_freed <= transformed_freed + 1;
          else in_freed <= in_freed + 1;
        end
        if (compute_step[FLAGS][3]) w_freed <= w_freed + 1;
        if (computed) acc_done <= acc_done + 1;
      end
      if (transform_done) begin
        t_busy <= 0;
        t_step <= transform_step[NEXT_IN];
        transformed <= transformed + 1;
        if (!transform_step[FLAGS][6]) in_freed <= in_freed + 1;
      end
      if (inverse_done) i_busy <= 0;
      if (OUTPUT_UNIT != 0 && out_finishes) i_step <= inverse_step[NEXT_OUT];
      if (out_finishes) out_done <= out_done + 1;
      out_freed <= out_freed + 32'(out_finishes && stays) + 32'(beat && last_beat && beat_kind == 2);
    end
  end
endmodule
