// Where the rows of a matrix lie: eight together, the same quad of each beside the others, so that invocations that read the same
// place of neighbouring rows read whole lines of memory. What rows.wgsl says of rows that lie one after another.
//@template
const QUAD_STEP = 32u;

fn row_at(row: u32, row_words: u32) -> u32 { return (row & ~7u) * row_words + (row & 7u) * 4u; }
fn rows_at(rows: vec4<u32>, row_words: u32) -> vec4<u32> { return (rows & vec4(~7u)) * row_words + (rows & vec4(7u)) * 4u; }

fn word_of_row(word: u32) -> u32 { return word / 4u * QUAD_STEP + (word & 3u); }
