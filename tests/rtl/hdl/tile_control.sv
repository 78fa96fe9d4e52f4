// Double-buffered tile control and DMA: two slots each for input tiles, weight tiles, transformed inputs, accumulators
// and output tiles.  The DMA engine works through its program in order, BANDWIDTH bytes a cycle, and waits only for a
// free slot (loads) or a finished tile (stores).  The units start a step as soon as what they read is there and where
// they write is free.  No cycle is lost between two requests.
module tile_control
  import machine_pkg::*;
#(
    parameter int BANDWIDTH = 8,
    parameter int MAX_STEPS = 1024,
    parameter int TRANSFORMS = 0,        // inputs pass through a transform unit
    parameter int INVERTS = TRANSFORMS   // results pass through an inverse transform unit
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
    output logic [SETTINGS-1:0][31:0] settings,
    output logic finished,
    // DMA beat of this cycle
    output logic beat,
    output logic [1:0] beat_kind,
    output logic beat_slot,
    output logic [31:0] beat_address,  // in DRAM
    output logic [31:0] beat_offset,   // in the tile
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
    output logic transform_slot,
    output logic inverse_slot
);
  logic [STEP_WORDS-1:0][31:0] steps[MAX_STEPS];
  logic [DMA_WORDS-1:0][31:0] requests[4*MAX_STEPS];

  always_ff @(posedge clk) begin
    if (host_we) begin
      case (host_space)
        0: settings[host_word[5:0]] <= host_data;
        1: steps[host_index][host_word] <= host_data;
        default: requests[host_index][host_word[1:0]] <= host_data;
      endcase
    end
  end

  // Tiles so far: loaded into, or freed in, each kind of slot.
  logic [31:0] in_loaded, in_freed, w_loaded, w_freed, transformed, transformed_freed;
  logic [31:0] acc_done, acc_freed, out_done, out_stored;

  // DMA
  logic [31:0] request, moved;
  logic [DMA_WORDS-1:0][31:0] now;
  logic ready, last_beat;
  assign now = requests[request[15:0]];
  always_comb begin
    case (now[KIND])
      0: ready = in_loaded < in_freed + 2;
      1: ready = w_loaded < w_freed + 2;
      default: ready = out_stored < out_done;
    endcase
  end
  assign finished = request == settings[REQUESTS];
  assign beat = go && !finished && (moved != 0 || ready);
  assign last_beat = moved + BANDWIDTH >= now[BYTES];
  assign beat_kind = now[KIND][1:0];
  assign beat_address = now[ADDRESS] + moved;
  assign beat_offset = moved;
  assign beat_bytes = last_beat ? now[BYTES] - moved : BANDWIDTH;
  assign beat_slot = beat_kind == 0 ? in_loaded[0] : beat_kind == 1 ? w_loaded[0] : out_stored[0];

  always_ff @(posedge clk) begin
    if (rst) begin
      request <= 0;
      moved <= 0;
      in_loaded <= 0;
      w_loaded <= 0;
      out_stored <= 0;
    end else if (beat) begin
      moved <= last_beat ? 0 : moved + BANDWIDTH;
      if (last_beat) begin
        request <= request + 1;
        if (beat_kind == 0) in_loaded <= in_loaded + 1;
        if (beat_kind == 1) w_loaded <= w_loaded + 1;
        if (beat_kind == 2) out_stored <= out_stored + 1;
      end
    end
  end

  // Units
  logic [31:0] t_step, c_step, i_step;
  logic t_busy, c_busy, i_busy;
  assign transform_step = steps[t_step[15:0]];
  assign compute_step = steps[c_step[15:0]];
  assign inverse_step = steps[i_step[15:0]];
  assign transform_slot = transformed[0];
  assign inverse_slot = acc_freed[0];

  logic inputs_ready, outputs_free;
  assign inputs_ready = compute_step[IN_INDEX] < (TRANSFORMS != 0 ? transformed : in_loaded);
  assign outputs_free = compute_step[OUT_INDEX] < (INVERTS != 0 ? acc_freed : out_stored) + 2;
  assign compute_start = go && !c_busy && c_step < settings[STEPS] && inputs_ready
      && compute_step[W_INDEX] < w_loaded && (!compute_step[FLAGS][0] || outputs_free);
  assign transform_start = TRANSFORMS != 0 && go && !t_busy && t_step < settings[STEPS]
      && transformed < in_loaded && transformed < transformed_freed + 2;
  assign inverse_start = INVERTS != 0 && go && !i_busy && i_step < settings[STEPS]
      && acc_freed < acc_done && acc_freed < out_stored + 2;

  always_ff @(posedge clk) begin
    if (rst) begin
      t_step <= 0;
      c_step <= 0;
      i_step <= settings[FIRST_OUT];
      {t_busy, c_busy, i_busy} <= 0;
      in_freed <= 0;
      w_freed <= 0;
      transformed <= 0;
      transformed_freed <= 0;
      acc_done <= 0;
      acc_freed <= 0;
      out_done <= 0;
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
        if (compute_step[FLAGS][1]) begin
          if (INVERTS != 0) acc_done <= acc_done + 1;
          else out_done <= out_done + 1;
        end
      end
      if (transform_done) begin
        t_busy <= 0;
        t_step <= transform_step[NEXT_IN];
        transformed <= transformed + 1;
        in_freed <= in_freed + 1;
      end
      if (inverse_done) begin
        i_busy <= 0;
        i_step <= inverse_step[NEXT_OUT];
        acc_freed <= acc_freed + 1;
        out_done <= out_done + 1;
      end
    end
  end
endmodule
