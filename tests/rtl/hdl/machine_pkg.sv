// Words of the programs that the host writes before a layer starts.  All are 32 bits wide.
package machine_pkg;
  // One step: a tile of outputs x a tile of filters x a tile of input channels.
  localparam int FLAGS = 0;       // bit 0: first channel tile of its outputs, 1: last one, 2: last user of its inputs,
                                  // 3: last user of its weights
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
  localparam int STEP_H = 16;     // rows / OUT_W and rows % OUT_W: how a row of lanes moves on to its next position
  localparam int STEP_W = 17;
  localparam int LENGTH = 18;     // dense: weights of one filter and tap
  localparam int HEADER_BITS = 19;  // skipping: bits of the table of stream lengths in front of the streams
  localparam int TILES_W = 20;    // Winograd: m x m tiles side by side
  localparam int WINDOWS = 21;    // operand windows of the tile's channels; 1 without windows
  localparam int STEP_WORDS = 22;

  // One request of the DMA engine.
  localparam int KIND = 0;        // 0: load an input tile, 1: load a weight tile, 2: store an output tile
  localparam int ADDRESS = 1;
  localparam int BYTES = 2;
  localparam int DMA_WORDS = 3;

  // Settings of a layer.
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
  localparam int TAP_SHIFT = 16;   // + tap
  localparam int SETTINGS = 64;
endpackage
