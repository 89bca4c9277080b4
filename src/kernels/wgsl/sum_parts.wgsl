// Adds to the residual stream what workgroups of matmul_tile.wgsl have made of PARTS parts of its inputs. One invocation: four elements of
// one column; n_rows is a multiple of 4. Reads all parts, reads and writes the residual stream. Oracle: matmul_ref.cpp, with the product.
//@import step
//@import activation
//@const WORKGROUP_SIZE 256
//@const PARTS 4
// 1: inputs were squares in parts of SQUARE_UNIT.
//@const OF_SQUARES 0

struct Immediates {
  n_rows: u32,
  part_quads: u32,     // from one part to the next
  output_quads: u32,   // before column 0
  stride_quads: u32,   // from one column to the next
}

@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let row = workgroup.x * WORKGROUP_SIZE + lane;
  let n_quads = immediates.n_rows / 4u;
  if (row >= n_quads || workgroup.y >= step_n_tokens()) {
    return;
  }
  let at = workgroup.y * n_quads + row;
  let to = immediates.output_quads + workgroup.y * immediates.stride_quads + row;
  let before = output[to];
  var sum = vec4<f32>();
  //@repeat P PARTS
  sum += parts[$Pu * immediates.part_quads + at];
  //@end
  output[to] = before + sum * select(1.0, SQUARE_UNIT, OF_SQUARES == 1u);
}
