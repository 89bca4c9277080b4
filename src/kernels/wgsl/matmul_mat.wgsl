// Matrix times many columns. One workgroup of 64: a tile of 256 rows of a segment times 16 tokens; each invocation holds four
// rows and all 16 columns. Inputs are read at addresses that are the same for the whole workgroup, so that one read
// serves it; weights go from memory to registers once per 16 tokens; nothing waits at a barrier. Grid: x, y: tiles of
// rows over all segments, z: tiles of tokens. Oracle: matmul_ref.cpp.
//@import act
//@import out
//@import step
//@import format
//@import rows
//@import matmul_segments

const WORKGROUP_SIZE = 64u;
const TILE_COLUMNS = 16u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) workgroup: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
  let group = workgroup.x + workgroup.y * grid.x;
  let column_first = workgroup.z * TILE_COLUMNS;
  let n_columns = column_count();
  if (group >= immediates.n_groups || column_first >= n_columns) {
    return;
  }
  let segment = segment_of(group);
  let n_in = segment.n_in;
  let row_first = (group - segment.group_begin) * 4u * WORKGROUP_SIZE + lane;
  // Rows and columns past the end repeat the last one and are not stored.
  let row_ids = min(vec4(row_first) + WORKGROUP_SIZE * vec4(0u, 1u, 2u, 3u), vec4(segment.n_rows - 1u));
  let rows = rows_at(row_ids, segment.row_words) + segment.weight_offset;
  var sums: array<vec4<f32>, TILE_COLUMNS>;
  for (var k = 0u; k < n_in; k += 8u) {
    let w0 = decode8(rows.x, n_in, k);
    let w1 = decode8(rows.y, n_in, k);
    let w2 = decode8(rows.z, n_in, k);
    let w3 = decode8(rows.w, n_in, k);
    for (var c = 0u; c < TILE_COLUMNS; c++) {
      let column = min(column_first + c, n_columns - 1u);
      let x = input8(segment.input_offset + column * segment.input_stride + k);
      sums[c] += vec4(dot8(w0, x), dot8(w1, x), dot8(w2, x), dot8(w3, x));
    }
  }
  for (var c = 0u; c < TILE_COLUMNS; c++) {
    for (var i = 0u; i < 4u; i++) {
      let row = row_first + i * WORKGROUP_SIZE;
      if (row < segment.n_rows && column_first + c < n_columns) {
        store_output(segment, row, column_first + c, sums[c][i] + output_before(segment, row, column_first + c));
      }
    }
  }
}
