// What a dispatch costs that has next to nothing to do, but waits for the one before it: it counts.
@group(0) @binding(0) var<storage, read_write> count: array<u32>;

@compute @workgroup_size(1)
fn main() {
  count[0] += 1u;
}
