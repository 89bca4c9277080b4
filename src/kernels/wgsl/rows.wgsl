// Where the rows of a matrix lie in `weights`, in words from its first one: one after another. rows_together.wgsl is the other way;
// which one a format has is said in kernels/weight_layout.cpp.
//@template
// From a quad of a row to its next.
const QUAD_STEP = 4u;

fn row_at(row: u32, row_words: u32) -> u32 { return row * row_words; }
fn rows_at(rows: vec4<u32>, row_words: u32) -> vec4<u32> { return rows * row_words; }

// How far word `word` of a row lies from the row's first.
fn word_of_row(word: u32) -> u32 { return word; }
