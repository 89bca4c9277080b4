// Matrix times many columns. One workgroup of 128: a tile of 64 rows of a segment times 32 tokens, in steps of 32 along
// n_in through workgroup memory (13.5 KiB); each invocation holds 4 x 4 sums. Reads weights once per 32 tokens and inputs
// once per 64 rows. Grid: x, y: tiles of rows over all segments, z: tiles of tokens. Oracle: matmul_ref.cpp.
//@import act
//@import out
//@import step
//@import format
//@import matmul_segments

const TILE_ROWS = 64u;
const TILE_COLUMNS = 32u;
const TILE_K = 32u;
// In vec4 along k: one more than the 8 that are used, so that neighbouring rows start in different banks.
const TILE_STRIDE = 9u;
const WORKGROUP_SIZE = 128u;

var<workgroup> tile_weights: array<vec4<f32>, TILE_ROWS * TILE_STRIDE>;
var<workgroup> tile_inputs: array<vec4<f32>, TILE_COLUMNS * TILE_STRIDE>;

fn load_weights(s: u32, row_first: u32, k_first: u32, lane: u32) {
  let n_in = segments[s].n_in;
  for (var i = lane; i < TILE_ROWS * TILE_K / 8u; i += WORKGROUP_SIZE) {
    let row = i / 4u;
    let k = k_first + (i & 3u) * 8u;
    var weight = Octet();
    if (row_first + row < segments[s].n_rows && k < n_in) {
      weight = decode8(segments[s].weight_offset + (row_first + row) * segments[s].row_words, n_in, k);
    }
    tile_weights[row * TILE_STRIDE + (i & 3u) * 2u] = weight.low;
    tile_weights[row * TILE_STRIDE + (i & 3u) * 2u + 1u] = weight.high;
  }
}

fn load_inputs(s: u32, column_first: u32, n_columns: u32, k_first: u32, lane: u32) {
  for (var i = lane; i < TILE_COLUMNS * TILE_K / 4u; i += WORKGROUP_SIZE) {
    let column = column_first + i / 8u;
    let k = k_first + (i & 7u) * 4u;
    var value = vec4<f32>();
    if (column < n_columns && k < segments[s].n_in) {
      value = input4((segments[s].input_offset + column * segments[s].input_stride + k) / 4u);
    }
    tile_inputs[(i / 8u) * TILE_STRIDE + (i & 7u)] = value;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) workgroup: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
  let group = workgroup.x + workgroup.y * grid.x;
  let column_first = workgroup.z * TILE_COLUMNS;
  let n_columns = column_count();
  if (group >= immediates.n_groups || column_first >= n_columns) {
    return;
  }
  let s = segment_of(group);
  let row_first = (group - segments[s].group_begin) * TILE_ROWS;
  let row = lane & 15u;     // rows row, row + 16, row + 32, row + 48 of the tile
  let column = lane >> 4u;  // columns column, column + 8, + 16, + 24
  var sums0 = vec4<f32>();
  var sums1 = vec4<f32>();
  var sums2 = vec4<f32>();
  var sums3 = vec4<f32>();
  for (var k_first = 0u; k_first < segments[s].n_in; k_first += TILE_K) {
    load_weights(s, row_first, k_first, lane);
    load_inputs(s, column_first, n_columns, k_first, lane);
    workgroupBarrier();
    for (var k = 0u; k < TILE_K / 4u; k++) {
      let w0 = tile_weights[row * TILE_STRIDE + k];
      let w1 = tile_weights[(row + 16u) * TILE_STRIDE + k];
      let w2 = tile_weights[(row + 32u) * TILE_STRIDE + k];
      let w3 = tile_weights[(row + 48u) * TILE_STRIDE + k];
      let x0 = tile_inputs[column * TILE_STRIDE + k];
      let x1 = tile_inputs[(column + 8u) * TILE_STRIDE + k];
      let x2 = tile_inputs[(column + 16u) * TILE_STRIDE + k];
      let x3 = tile_inputs[(column + 24u) * TILE_STRIDE + k];
      sums0 += vec4(dot(w0, x0), dot(w1, x0), dot(w2, x0), dot(w3, x0));
      sums1 += vec4(dot(w0, x1), dot(w1, x1), dot(w2, x1), dot(w3, x1));
      sums2 += vec4(dot(w0, x2), dot(w1, x2), dot(w2, x2), dot(w3, x2));
      sums3 += vec4(dot(w0, x3), dot(w1, x3), dot(w2, x3), dot(w3, x3));
    }
    workgroupBarrier();
  }
  let sums = array<vec4<f32>, 4>(sums0, sums1, sums2, sums3);
  for (var j = 0u; j < 4u; j++) {
    for (var i = 0u; i < 4u; i++) {
      let output_row = row_first + row + 16u * i;
      let output_column = column_first + column + 8u * j;
      if (output_row < segments[s].n_rows && output_column < n_columns) {
        store_output(s, output_row, output_column, sums[j][i]);
      }
    }
  }
}
