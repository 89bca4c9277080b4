// The control block of a slot, words of u32; the host's side is ControlBlock in kernels/step_input.hpp.
const CONTROL_WORDS = 64u;
const CONTROL_NEXT_TOKEN = 0u;   // sampled last, not yet fed
const CONTROL_FROZEN = 1u;       // 0 running, 1 stop token, 2 limit reached, 3 numbers that are not finite
const CONTROL_N_GENERATED = 2u;
const CONTROL_LIMIT = 3u;
const CONTROL_SEQUENCE = 4u;
const CONTROL_SEED = 5u;         // two words
const CONTROL_TEMPERATURE = 7u;  // f32
const CONTROL_TOP_K = 8u;
const CONTROL_TOP_P = 9u;        // f32
const CONTROL_N_STOP = 10u;
const CONTROL_STOP = 11u;        // up to STOP_MAX ids
const STOP_MAX = 16u;
const CONTROL_POSITION = 27u;    // of the first token sampled; counts on for the random numbers
const CONTROL_ORDER = 28u;
const CONTROL_MIN_P = 29u;               // f32, as all to the decay
const CONTROL_TYPICAL_P = 30u;
const CONTROL_XTC_PROBABILITY = 31u;
const CONTROL_XTC_THRESHOLD = 32u;
const CONTROL_MIROSTAT_TAU = 33u;
const CONTROL_MIROSTAT_ETA = 34u;
const CONTROL_PRESENCE_PENALTY = 35u;
const CONTROL_FREQUENCY_PENALTY = 36u;
const CONTROL_REPETITION_PENALTY = 37u;
const CONTROL_PENALTY_DECAY = 38u;
const CONTROL_N_ADDITIONS = 39u;
const CONTROL_N_UNCOUNTED = 40u;
const CONTROL_UNCOUNTED = 41u;           // up to UNCOUNTED_MAX ids
const UNCOUNTED_MAX = 12u;
const CONTROL_MIROSTAT_MU = 63u;         // f32; 0: not begun

// Whether any of the penalties that look at the counts of tokens is on.
fn counts_tokens(presence: f32, frequency: f32, repetition: f32) -> bool {
  return presence != 0.0 || frequency != 0.0 || repetition != 1.0;
}
