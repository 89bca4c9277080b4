// Rows whose bytes are the file's, put together (kernels/weight_layout.hpp). One invocation: a quad, in the order in which they
// are written; rows of the first and the last eight that are not among these are another dispatch's. Oracle: pack_rows in
// weight_layout.cpp.
//@const WORKGROUP_SIZE 256
//@const TOGETHER 8

struct Immediates {
  n_quads: u32,    // of all rows that lie together with these
  row_quads: u32,
  first: u32,      // quad of the first row in `bytes`
  row_stride: u32,
  to: u32,         // quad of row 0 in `rows`
  row_first: u32,  // which row there is the first of these
  row_end: u32,
}

@group(0) @binding(0) var<storage, read> bytes: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> rows: array<vec4<u32>>;
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let quad = (workgroup.x + workgroup.y * grid.x) * WORKGROUP_SIZE + lane;
  if (quad >= immediates.n_quads) {
    return;
  }
  let place = quad / TOGETHER;
  let row = place / immediates.row_quads * TOGETHER + quad % TOGETHER;
  if (row < immediates.row_first || row >= immediates.row_end) {
    return;
  }
  rows[immediates.to + quad] =
      bytes[immediates.first + (row - immediates.row_first) * immediates.row_stride + place % immediates.row_quads];
}
