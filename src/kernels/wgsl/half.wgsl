// Reading words of weights, and the f16 that stand among them.
//@import halves
fn word(at: u32) -> u32 { return weights[at / 4u][at % 4u]; }
// Four words, the first one a multiple of 4.
fn quad(at: u32) -> vec4<u32> { return weights[at / 4u]; }

// The f16 of one block where a row has those of all blocks one after another from word `plane` on.
fn half_of_block(plane: u32, block: u32) -> f32 { return halves(word(plane + block / 2u) >> (16u * (block & 1u))).x; }
