// What a step is about: its tokens, the chunks they belong to, and the rows that want logits. Words of u32; the host's
// side is kernels/step.hpp.
//@const TOKENS_MAX 512
@group(0) @binding(0) var<storage, read> step: array<u32>;

const STEP_TOKENS = 8u;
const STEP_CHUNK_OF_TOKEN = STEP_TOKENS + TOKENS_MAX;
const STEP_CHUNKS = STEP_CHUNK_OF_TOKEN + TOKENS_MAX;
const STEP_OUTPUTS = STEP_CHUNKS + 4u * TOKENS_MAX;

// Consecutive tokens of one sequence, whose state is in `slot`.
struct Chunk {
  slot: u32,
  first: u32,
  count: u32,
  after: u32,  // GOES_ON, BEGINS, or AFTER_SLOT and the slot whose state it goes on from
}
const GOES_ON = 0u;
const BEGINS = 1u;
const AFTER_SLOT = 2u;

// A token whose logits are wanted; sampled from when `sample` is 1, into its slot's next token.
struct OutputRow {
  token: u32,
  slot: u32,
  sample: u32,
}

fn step_n_tokens() -> u32 { return step[0]; }
fn step_n_chunks() -> u32 { return step[1]; }
fn step_n_outputs() -> u32 { return step[2]; }
fn step_token_id(token: u32) -> u32 { return step[STEP_TOKENS + token]; }
fn step_chunk_of(token: u32) -> u32 { return step[STEP_CHUNK_OF_TOKEN + token]; }

fn step_chunk(index: u32) -> Chunk {
  let at = STEP_CHUNKS + 4u * index;
  return Chunk(step[at], step[at + 1u], step[at + 2u], step[at + 3u]);
}

fn step_output(index: u32) -> OutputRow {
  let at = STEP_OUTPUTS + 4u * index;
  return OutputRow(step[at], step[at + 1u], step[at + 2u]);
}
