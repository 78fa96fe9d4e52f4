// One step of an array, as a netlist under Icarus or as RTL under Verilator; the buffers are tables from files.
// Defined on top: UNIT, ROWS, COLS, STREAMS, COLS_A_TAP, X_BITS, ACC_BITS, PERIOD, WEIGHT_BYTES, OPERANDS, INDEXES,
// ROUNDS, and STATIONARY where the array holds weights (then ROUNDS, INDEXES are the width and the channels of the map).
`timescale 1ps / 1ps
module bench;
  reg clk = 0, rst = 1, start = 0;
  reg [33*32-1:0] step;
  reg [64*32-1:0] settings;
  reg [31:0] steps[0:32], all_settings[0:63];
  reg [7:0] weights[0:`WEIGHT_BYTES-1];
  reg [`X_BITS-1:0] operands[0:`OPERANDS-1];
  wire done, write;
  wire [`ACC_BITS*`SUMS-1:0] sum;
  integer k, cycle, a, b, c, d;  // a loop variable a block
  reg loaded = 0;
  reg finished = 0;
`ifdef STATIONARY
  wire [24*`COLS-1:0] weight_at;
  reg [8*`COLS-1:0] weight;
  wire [16*`ROWS-1:0] row_channel, row_r, row_s;
  wire [15:0] out_h, out_w, write_filter;
  reg [8*`ROWS-1:0] pixel;
  wire write_first;
  wire [31:0] write_position;
  `UNIT dut (
      .clk(clk), .rst(rst), .start(start), .step(step), .settings(settings), .done(done), .weight_at(weight_at),
      .weight(weight), .row_channel(row_channel), .row_r(row_r), .row_s(row_s), .out_h(out_h), .out_w(out_w),
      .pixel(pixel), .write(write), .write_first(write_first), .write_position(write_position),
      .write_filter(write_filter), .sum(sum)
  );
  always @(weight_at or loaded) begin
    for (a = 0; a < `COLS; a = a + 1) weight[8*a+:8] = weights[weight_at[24*a+:24]%`WEIGHT_BYTES];
  end
  always @(out_h or out_w or row_channel or row_r or row_s or loaded) begin
    for (b = 0; b < `ROWS; b = b + 1)
      pixel[8*b+:8] = operands[((32'd0+out_h+row_r[16*b+:16])*`ROUNDS+out_w+row_s[16*b+:16])*`INDEXES
          +row_channel[16*b+:16]];
  end
  wire [127:0] others = {write_first, write_position, write_filter, out_h, out_w};
`else
  wire [24*`STREAMS-1:0] count_at, record_at;
  reg [32*`STREAMS-1:0] count_word, record_word;
  wire [16*`STREAMS-1:0] index;
  wire [15:0] operand_round, operand_taps, write_round, write_filter, write_tap;
  wire round_ends;
  reg [`X_BITS*`SUMS-1:0] operand;
  `UNIT dut (
      .clk(clk), .rst(rst), .start(start), .step(step), .settings(settings), .done(done), .count_at(count_at),
      .count_word(count_word), .record_at(record_at), .record_word(record_word), .index(index),
      .operand_round(operand_round), .operand_taps(operand_taps), .round_ends(round_ends), .operand(operand),
      .write(write), .write_round(write_round), .write_filter(write_filter), .write_tap(write_tap), .sum(sum)
  );
  function [31:0] window(input [23:0] bit_at);
    reg [39:0] bytes;
    begin
      bytes = {
        weights[(bit_at[23:3]+4)%`WEIGHT_BYTES], weights[(bit_at[23:3]+3)%`WEIGHT_BYTES],
        weights[(bit_at[23:3]+2)%`WEIGHT_BYTES], weights[(bit_at[23:3]+1)%`WEIGHT_BYTES],
        weights[bit_at[23:3]%`WEIGHT_BYTES]
      };
      bytes = bytes >> bit_at[2:0];
      window = bytes[31:0];
    end
  endfunction
  always @(count_at or loaded) begin
    for (a = 0; a < `STREAMS; a = a + 1) count_word[32*a+:32] = window(count_at[24*a+:24]);
  end
  always @(record_at or loaded) begin
    for (b = 0; b < `STREAMS; b = b + 1) record_word[32*b+:32] = window(record_at[24*b+:24]);
  end
  always @(index or operand_round or operand_taps or loaded) begin
    for (c = 0; c < `STREAMS; c = c + 1)
      for (d = 0; d < `ROWS; d = d + 1)
        operand[`X_BITS*(c*`ROWS+d)+:`X_BITS] = operands[((((32'd0+operand_taps+c/`COLS_A_TAP)*`ROUNDS
            +operand_round)*`INDEXES+index[16*c+:16])*`ROWS+d)%`OPERANDS];
  end
  wire [127:0] others = {write_round, write_filter, write_tap, operand_round, operand_taps, round_ends};
`endif

  always #(`PERIOD / 2) clk = ~clk;
  initial begin
    $readmemh("step.hex", steps);
    $readmemh("settings.hex", all_settings);
    $readmemh("weights.hex", weights);
    $readmemh("operands.hex", operands);
    for (k = 0; k < 33; k = k + 1) step[32*k+:32] = steps[k];
    for (k = 0; k < 64; k = k + 1) settings[32*k+:32] = all_settings[k];
    loaded = 1;
    @(posedge clk);
    @(posedge clk);
    #10 rst = 0;
    start = 1;
    @(posedge clk);
    #10 start = 0;
`ifdef GATES
    $dumpfile("dump.vcd");
    $dumpvars(1, dut);
`endif
    for (cycle = 0; !finished && cycle < 20000; cycle = cycle + 1) begin
      @(negedge clk);
      #(`PERIOD / 2 - 20);
      if (write) $display("=%0d %h %h", cycle, others, sum);
      else $display("=%0d %h", cycle, others);
      finished = done;
      @(posedge clk);
      #10;
    end
    $finish;
  end
endmodule
