// Matrix times few columns. A team of invocations computes 4 rows of a segment times COLUMNS tokens, each invocation taking
// a unit of 32 weights of every row at a time; a workgroup takes QUADS such groups of rows. Reads each row's weights once per
// COLUMNS tokens: memory-bound, 2 * COLUMNS flops a weight. Grid: x, y: groups of 4 * QUADS rows over all segments,
// z: groups of COLUMNS tokens. Oracle: matmul_ref.cpp.
//@import act
//@import out
//@import step
//@import format
//@import rows
//@import matmul_segments
//@const WORKGROUP_SIZE 64
//@const QUADS 1
//@const COLUMNS 1
//@import team

// Teams are subgroups, whose number per workgroup the device decides: they share the QUADS among them.
fn rows_times_columns(segment: Segment, row_first: u32, column_first: u32, n_columns: u32, lane: Lane) {
  let n_in = segment.n_in;
  // Rows and columns past the end repeat the last one and are not stored.
  let rows = rows_at(min(vec4(row_first) + vec4(0u, 1u, 2u, 3u), vec4(segment.n_rows - 1u)), segment.row_words) +
             segment.weight_offset;
  var inputs: array<u32, COLUMNS>;
  var sums: array<vec4<f32>, COLUMNS>;
  var before: array<f32, COLUMNS>;
  let row = row_first + lane.in_team;
  for (var c = 0u; c < COLUMNS; c++) {
    let column = min(column_first + c, n_columns - 1u);
    inputs[c] = segment.input_offset + column * segment.input_stride;
    before[c] = output_before(segment, min(row, segment.n_rows - 1u), column);
  }
  let n_units = (n_in + 63u) / 64u * 2u;
  for (var unit = lane.in_team; unit < n_units; unit += team_size(lane)) {
    let unit0 = load_unit(rows.x, n_in, unit);
    let unit1 = load_unit(rows.y, n_in, unit);
    let unit2 = load_unit(rows.z, n_in, unit);
    let unit3 = load_unit(rows.w, n_in, unit);
    for (var i = 0u; i < 4u; i++) {
      let w0 = unit_octet(unit0, i);
      let w1 = unit_octet(unit1, i);
      let w2 = unit_octet(unit2, i);
      let w3 = unit_octet(unit3, i);
      // Past the end weights are zero and the inputs some others.
      let k = min(unit_k(unit, i), n_in - 1u);
      for (var c = 0u; c < COLUMNS; c++) {
        let x = input8(inputs[c] + k);
        sums[c] += vec4(dot8(w0, x), dot8(w1, x), dot8(w2, x), dot8(w3, x));
      }
    }
  }
  for (var c = 0u; c < COLUMNS; c++) {
    let total = team_sum(sums[c], lane);
    if (lane.in_team < 4u && row < segment.n_rows && column_first + c < n_columns) {
      store_output(segment, row, column_first + c, total + before[c]);
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let group = workgroup.x + workgroup.y * grid.x;
  let column_first = workgroup.z * COLUMNS;
  let n_columns = column_count();
  if (group >= immediates.n_groups || column_first >= n_columns) {
    return;
  }
  let segment = segment_of(group);
  let row_first = (group - segment.group_begin) * 4u * QUADS;
  for (var quad = team_first(lane); quad < QUADS; quad += team_count(lane)) {
    rows_times_columns(segment, row_first + 4u * quad, column_first, n_columns, lane);
  }
}
