// How fast the arithmetic units multiply and add: every invocation turns CHAINS vectors x into factor * x + addend, STEPS
// times over. With the factor -1 that is addend - x and x by turns, exactly. One workgroup writes how many of its
// invocations have the right sum. Grid: x.
//@import act
//@const CHAINS 8
//@const STEPS 4095
const WORKGROUP_SIZE = 256u;

struct Immediates {
  factor: f32,
  addend: f32,
  expected: f32,  // sum over all chains
}

@group(0) @binding(0) var<storage, read_write> n_right: array<u32>;  // [workgroup]
var<immediate> immediates: Immediates;
var<workgroup> right: atomic<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let factor = vec4(Act(immediates.factor));
  let addend = vec4(Act(immediates.addend));
  //@repeat C CHAINS
  var x_$C = vec4(Act($C));
  //@end
  for (var i = 0u; i < STEPS; i++) {
    //@repeat C CHAINS
    x_$C = fma(factor, x_$C, addend);
    //@end
  }
  var sum = vec4<Act>();
  //@repeat C CHAINS
  sum += x_$C;
  //@end
  if (f32(sum.x + sum.y + sum.z + sum.w) == immediates.expected) {
    atomicAdd(&right, 1u);
  }
  workgroupBarrier();
  if (lane == 0u) {
    n_right[workgroup.x] = atomicLoad(&right);
  }
}
