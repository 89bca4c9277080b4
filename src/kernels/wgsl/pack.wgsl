// Rows as a file holds them, brought into the layout of GPU memory (kernels/weight_layout.hpp): the parts of a row's blocks
// gathered into planes, transposed floats put in order, zeros up to the end of a row. One invocation: one word.
// Oracle: pack_rows in weight_layout.cpp.
//@import rows
//@const WORKGROUP_SIZE 256

struct Immediates {
  planes: vec4<u32>,  // of a block: first byte, number of bytes << 16; 0: no such plane
  n_words: u32,       // of all rows
  row_words: u32,
  n_blocks: u32,      // of a row
  first: u32,         // byte of the first row in the file's bytes
  row_stride: u32,    // bytes from row to row, and from block to block, there
  block_stride: u32,
  to: u32,            // word of row 0 in `rows`
  row_first: u32,     // which row there is the first of these
}

@group(0) @binding(0) var<storage, read> bytes: array<u32>;
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;
var<immediate> immediates: Immediates;

fn byte_at(at: u32) -> u32 { return (bytes[at / 4u] >> (8u * (at & 3u))) & 0xffu; }

// Byte `at` of a packed row.
fn packed_byte(row: u32, at: u32) -> u32 {
  let blocks = immediates.first + row * immediates.row_stride;
  var left = at;
  for (var i = 0u; i < 4u; i++) {
    let size = immediates.planes[i] >> 16u;
    if (left < size * immediates.n_blocks) {
      let begin = immediates.planes[i] & 0xffffu;
      return byte_at(blocks + left / size * immediates.block_stride + begin + left % size);
    }
    left -= size * immediates.n_blocks;
  }
  return 0u;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let word = (workgroup.x + workgroup.y * grid.x) * WORKGROUP_SIZE + lane;
  if (word >= immediates.n_words) {
    return;
  }
  let row = word / immediates.row_words;
  let of_row = word % immediates.row_words;
  var packed = 0u;
  for (var i = 0u; i < 4u; i++) {
    packed |= packed_byte(row, of_row * 4u + i) << (8u * i);
  }
  rows[immediates.to + row_at(immediates.row_first + row, immediates.row_words) + word_of_row(of_row)] = packed;
}
