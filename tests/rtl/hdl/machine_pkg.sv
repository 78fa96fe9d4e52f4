// Words of the programs that the host writes before a layer, or a chain of layers, starts.  All are 32 bits wide.
package machine_pkg;
  // One step: a tile of outputs x a tile of filters x a tile of input channels.
  localparam int FLAGS = 0;       // bit 0: first channel tile of its outputs, 1: last one, 2: last user of its inputs,
                                  // 3: last user of its weights, 4: its outputs go to DRAM, 5: an addition rides on
                                  // them, 6: its inputs are a map on chip
  localparam int IN_INDEX = 1;    // which input tile, weight tile, output tile it works on, counted from 0
  localparam int W_INDEX = 2;
  localparam int OUT_INDEX = 3;
  localparam int NEXT_IN = 4;     // the next step with a new input tile, and the next that finishes an output tile
  localparam int NEXT_OUT = 5;
  localparam int TILE_H = 6;      // input rows, columns, channels in the buffer
  localparam int TILE_W = 7;
  localparam int CHANNELS = 8;
  localparam int FILTERS = 9;     // filters of the tile
  localparam int OUT_H = 10;      // output rows and columns of the tile
  localparam int OUT_W = 11;
  localparam int PAD_TOP = 12;    // rows of zeros above the tile, columns of zeros left of it
  localparam int PAD_LEFT = 13;
  localparam int POSITIONS = 14;  // outputs, or m x m tiles, of the tile
  localparam int ROUNDS = 15;     // ceil(positions / rows)
  localparam int STEP_H = 16;     // rows / TILES_W and rows % TILES_W: how a row of lanes moves on to its next position
  localparam int STEP_W = 17;
  localparam int LENGTH = 18;     // dense: weights of one filter and tap
  localparam int HEADER_BITS = 19;  // skipping: bits of the table of stream lengths in front of the streams
  localparam int TILES_W = 20;    // m x m tiles side by side; OUT_W in the spatial domain
  localparam int WINDOWS = 21;    // operand windows of the tile's channels; 1 without windows
  localparam int LAYER = 22;      // whose settings hold
  localparam int AFTER = 23;      // output tiles that must be finished before any unit starts the step
  localparam int IN_AT = 24;      // first byte of the input tile; columns and channels of the map that it is a part of
  localparam int IN_PITCH = 25;
  localparam int IN_DEPTH = 26;
  localparam int W_AT = 27;       // first byte of the weight tile
  localparam int X_AT = 28;       // Winograd: first round x channel of the transformed inputs
  localparam int MAP_AT = 29;     // first byte of the output tile in its map on chip; columns and channels of this map
  localparam int MAP_PITCH = 30;
  localparam int MAP_DEPTH = 31;
  localparam int OPERAND_AT = 32; // first byte of what an addition adds, a map of the same shape
  localparam int STEP_WORDS = 33;

  // One request of the DMA engine.
  localparam int KIND = 0;        // 0: load an input tile, 1: load a weight tile, 2: store an output tile
  localparam int ADDRESS = 1;
  localparam int BYTES = 2;
  localparam int PLACE = 3;       // first byte of the tile in its buffer, or first value in the output buffer
  localparam int WAIT = 4;        // steps that the lanes must have done (loads), output tiles that are finished (stores)
  localparam int DMA_WORDS = 5;

  // Settings of a layer; number of requests and steps and the first step that finishes an output are layer 0's.
  localparam int REQUESTS = 0;
  localparam int STRIDE = 1;
  localparam int RECORD_BITS = 2;  // bits of a weight with its index, of a stream length, of the index's two low fields
  localparam int COUNT_BITS = 3;
  localparam int R_BITS = 4;
  localparam int S_BITS = 5;
  localparam int KERNEL_R = 6;
  localparam int KERNEL_S = 7;
  localparam int OUT_SHIFT = 8;
  localparam int FIRST_OUT = 9;
  localparam int STEPS = 10;
  localparam int FILL = 11;        // streamed: cycles in which tile-channels of a window are handed to the transform units
  localparam int RELU = 12;        // whether negative outputs become zero
  localparam int OPERAND_SHIFT = 13;  // left shift of what an addition adds, to the scale of the sums
  localparam int TAP_SHIFT = 16;   // + tap
  localparam int SETTINGS = 64;
endpackage
