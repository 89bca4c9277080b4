// A grouped matrix product: up to eight matrices of one format ("segments") times their inputs, in one dispatch. Segments
// share the bindings and differ in offsets; a workgroup finds its segment by its index. Host side: kernels/matmul.hpp.
//@import activation
struct Segment {
  group_begin: u32,    // first workgroup (of the x, y grid) of this segment
  n_rows: u32,
  n_in: u32,
  row_words: u32,      // words of a row of weights
  weight_offset: u32,  // words
  input_offset: u32,   // elements
  input_stride: u32,   // elements from one token to the next, a multiple of 8
  activation: u32,
  output_offset: u32,  // elements
  output_stride: u32,
  k_begin: u32,        // inputs that are multiplied, all where few columns are: multiples of 256 but for the end
  k_end: u32,
}

struct Immediates {
  n_segments: u32,
  n_groups: u32,
  n_first_groups: u32,  // of the first segment, which stands here too: one load less before the weights can be read
  one_column: u32,      // 1: there is just one column, which need not be looked up
  first: Segment,
}

const SEGMENTS_MAX = 8u;
@group(0) @binding(1) var<uniform> segments: array<Segment, SEGMENTS_MAX>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> input: array<Act8>;
@group(0) @binding(4) var<storage, read_write> output: array<Out>;
var<immediate> immediates: Immediates;

// 1: the columns are the step's outputs rather than its tokens.
//@const OVER_OUTPUTS 0
// 1: results are added to what `output` holds (the residual stream).
//@const ACCUMULATE 0
// 1: inputs are squares in parts of SQUARE_UNIT (relu^2 of the channel mix, which would leave f16).
//@const OF_SQUARES 0

fn segment_of(group: u32) -> Segment {
  if (group < immediates.n_first_groups) {
    return immediates.first;
  }
  var s = 1u;
  while (s + 1u < immediates.n_segments && group >= segments[s + 1u].group_begin) {
    s++;
  }
  return segments[s];
}

fn column_count() -> u32 {
  if (immediates.one_column == 1u) {
    return 1u;
  }
  if (OVER_OUTPUTS == 1u) {
    return step_n_outputs();
  }
  return step_n_tokens();
}

// Eight inputs from element `at` on, a multiple of 8.
fn input8(at: u32) -> Octet { return octet_of_act8(input[at / 8u]); }

fn output_at(segment: Segment, row: u32, column: u32) -> u32 {
  return segment.output_offset + column * segment.output_stride + row;
}

// What a sum begins with where results are added to what is there; such have no activation.
fn output_before(segment: Segment, row: u32, column: u32) -> f32 {
  if (ACCUMULATE == 1u) {
    return f32(output[output_at(segment, row, column)]) / select(1.0, SQUARE_UNIT, OF_SQUARES == 1u);
  }
  return 0.0;
}

// `sum` includes output_before().
fn store_output(segment: Segment, row: u32, column: u32, sum: f32) {
  let value = sum * select(1.0, SQUARE_UNIT, OF_SQUARES == 1u);
  if (ACCUMULATE == 1u) {
    output[output_at(segment, row, column)] = Out(value);
  } else {
    output[output_at(segment, row, column)] = Out(activate(value, segment.activation));
  }
}
