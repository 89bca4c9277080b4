// Read access to the slots' control blocks.
//@import control_layout
@group(0) @binding(1) var<storage, read> control: array<u32>;

fn control_word(slot: u32, word: u32) -> u32 { return control[slot * CONTROL_WORDS + word]; }

// A frozen slot's state is never written again, so that steps already in flight leave it as it was.
fn control_frozen(slot: u32) -> bool { return control_word(slot, CONTROL_FROZEN) != 0u; }
