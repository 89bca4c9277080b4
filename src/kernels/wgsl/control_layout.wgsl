// The control block of a slot, words of u32; the host's side is ControlBlock in kernels/step.hpp.
const CONTROL_WORDS = 32u;
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
