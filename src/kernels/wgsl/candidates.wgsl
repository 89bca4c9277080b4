// The candidates: the tokens of a row that may still be drawn, always those whose logits lie in an interval, so that a
// filter is a new bound. While they are many they are visited in the row, all of it; as soon as a filter leaves few, they
// are put into a list in the workgroup's memory, and all that follows looks at that alone.
// Sums that decide are of whole numbers: the order in which the list was filled changes nothing, and the list and the row
// give the same cut. `n` is how many are listed, some of them taken away since, or IN_ROW. What visits them is called in one
// place if possible: compilers put each call in line.
//@const EACH 4
// Room in the list; at least WORKGROUP_SIZE.
//@const LIST_MAX 1024

const IN_ROW = 0xffffffffu;
const BINS = 256u;
const RUN = 16u;  // bins are added up by so many neighbours
const LARGEST: f32 = 0x1.fffffep127;
const WHOLE: f32 = 0x1p31;  // what all candidates weigh together, but for rounding

var<workgroup> list_logits: array<f32, LIST_MAX>;
var<workgroup> list_ids: array<u32, LIST_MAX>;
var<workgroup> list_end: atomic<u32>;  // beyond LIST_MAX where not all have room
var<workgroup> n_fitting: u32;         // what list_part gives
var<workgroup> bins: array<atomic<u32>, BINS>;
var<workgroup> run_totals: array<u32, BINS / RUN>;
var<workgroup> bin_found: Bin;
var<workgroup> sums: array<atomic<u32>, 2>;

var<private> row: u32;  // where its logits begin
// The interval; `high` is the logit of a candidate, the largest. The same in every invocation.
var<private> low: f32;
var<private> high: f32;
var<private> threshold: u32;  // the rank of a cut; the same too

// An invocation's logits of a row on their way, EACH of them at once, in registers.
//@repeat I EACH
var<private> logit_$I: f32;
//@end

fn load_logits(first: u32, stride: u32) {
  if (first + (EACH - 1u) * stride < immediates.n_vocab) {
    //@repeat I EACH
    logit_$I = logits[row + first + $Iu * stride];
    //@end
  } else {
    //@repeat I EACH
    logit_$I = logits[row + min(first + $Iu * stride, immediates.n_vocab - 1u)];
    //@end
  }
}

// Unsigned integers in the order of the floats; -0 as 0, and NaN of either sign above all, so that it is found.
fn order_key(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return 0xffffffffu;
  }
  if (magnitude == 0u) {
    return 0x80000000u;
  }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn value_of_key(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

fn is_candidate(value: f32) -> bool {
  return value >= low && value <= high;
}

// What candidates are ordered by.
struct Ranking {
  by_id: bool,  // the lowest first; else by distance, the nearest first:
  centre: f32,  // from high + centre; 0: by logits
  near: f32,    // the distance below which the cut is looked for first
}

fn distance_of(value: f32, ranking: Ranking) -> f32 {
  return abs(value - high - ranking.centre);
}

// The higher, the earlier. By logits, not by distance, where these may be rounded into one.
fn rank(value: f32, id: u32, ranking: Ranking) -> u32 {
  if (ranking.by_id) {
    return ~id;
  }
  return select(~bitcast<u32>(distance_of(value, ranking)), order_key(value), ranking.centre == 0.0);
}

// A candidate weighs `scale` times exp((logit - high) * sharpness), rounded. Sharpness 0, scale 1: each counts one.
struct Weighing {
  sharpness: f32,
  scale: f32,
}

fn exponent(value: f32, sharpness: f32) -> f32 {
  return max(value - high, -LARGEST) * sharpness;
}

fn weight(value: f32, weighing: Weighing) -> u32 {
  return u32(exp(exponent(value, weighing.sharpness)) * weighing.scale + 0.5);
}

// Of the candidates, e = exponent(logit).
struct Tally {
  mass: f32,    // sum of exp(e)
  moment: f32,  // sum of exp(e) * e
}

// An exp(e) of 0 may be that of minus infinity, and their product no number.
fn tally_one(value: f32, sharpness: f32) -> vec2<f32> {
  if (!is_candidate(value)) {
    return vec2<f32>();
  }
  let e = exponent(value, sharpness);
  let mass = exp(e);
  return vec2(mass, select(0.0, mass * e, mass > 0.0));
}

fn row_tally(sharpness: f32, lane: Lane) -> Tally {
  var sum = vec2<f32>();
  for (var first = lane.index; first < immediates.n_vocab; first += EACH * WORKGROUP_SIZE) {
    load_logits(first, WORKGROUP_SIZE);
    //@repeat I EACH
    if (first + $Iu * WORKGROUP_SIZE < immediates.n_vocab) {
      sum += tally_one(logit_$I, sharpness);
    }
    //@end
  }
  let total = workgroup_sum(vec4(sum, 0.0, 0.0), lane);
  return Tally(total.x, total.y);
}

// The workgroup's sums, known to all.
fn whole_sums(parts: vec2<u32>, lane: Lane) -> vec2<u32> {
  if (lane.index < 2u) {
    atomicStore(&sums[lane.index], 0u);
  }
  workgroupBarrier();
  if (parts.x > 0u) {
    atomicAdd(&sums[0], parts.x);
    atomicAdd(&sums[1], parts.y);
  }
  workgroupBarrier();
  let totals = vec2(atomicLoad(&sums[0]), atomicLoad(&sums[1]));
  workgroupBarrier();
  return totals;
}

// Twice: the first sum says how large the second may be scaled. -moment is at most mass * ln(LIST_MAX).
fn list_tally(n: u32, sharpness: f32, lane: Lane) -> Tally {
  const FIRST_SCALE = WHOLE / f32(LIST_MAX);
  const SCALES = vec2<f32>(WHOLE, -0x1p28);
  var part = vec2<u32>();
  for (var i = lane.index; i < n; i += WORKGROUP_SIZE) {
    part.x += u32(tally_one(list_logits[i], sharpness).x * FIRST_SCALE + 0.5);
  }
  let mass = f32(whole_sums(part, lane).x) / FIRST_SCALE;
  part = vec2<u32>();
  for (var i = lane.index; i < n; i += WORKGROUP_SIZE) {
    part += vec2<u32>(tally_one(list_logits[i], sharpness) / mass * SCALES + 0.5);
  }
  let totals = vec2<f32>(whole_sums(part, lane)) / SCALES * mass;
  return Tally(totals.x, totals.y);
}

fn tally(n: u32, sharpness: f32, lane: Lane) -> Tally {
  if (n == IN_ROW) {
    return row_tally(sharpness, lane);
  }
  return list_tally(n, sharpness, lane);
}

// The highest bin from which on at least `wanted` lies, or all that there is.
struct Bin {
  index: u32,
  above: u32,     // what lies in higher bins
  reached: bool,  // whether there is as much as wanted
}

fn find_bin(wanted: u32, lane: Lane) -> Bin {
  if (lane.index == 0u) {
    bin_found = Bin();
  }
  workgroupBarrier();
  if (lane.index < BINS / RUN) {
    var run_total = 0u;
    for (var i = 0u; i < RUN; i++) {
      run_total += atomicLoad(&bins[lane.index * RUN + i]);
    }
    run_totals[lane.index] = run_total;
  }
  workgroupBarrier();
  for (var bin = lane.index; bin < BINS; bin += WORKGROUP_SIZE) {
    var above = 0u;
    var total = 0u;
    for (var i = 0u; i < BINS / RUN; i++) {
      above += select(0u, run_totals[i], i > bin / RUN);
      total += run_totals[i];
    }
    for (var i = 0u; i < RUN; i++) {
      above += select(0u, atomicLoad(&bins[bin / RUN * RUN + i]), i > bin % RUN);
    }
    let missing = min(wanted, total);
    if (above < missing && missing <= above + atomicLoad(&bins[bin])) {
      bin_found = Bin(bin, above, total >= wanted);
    }
  }
  return workgroupUniformLoad(&bin_found);
}

// The bin of a candidate's distance, the nearest in the highest; BINS beyond ranking.near.
fn distance_bin(value: f32, ranking: Ranking) -> u32 {
  let distance = distance_of(value, ranking);
  if (!is_candidate(value) || distance >= ranking.near) {
    return BINS;
  }
  return BINS - 1u - min(u32(distance * (f32(BINS) / ranking.near)), BINS - 1u);
}

// A pass of cut_at: by distances, or by a byte of those ranks whose higher bits are the threshold's.
struct Pass {
  by_distance: bool,
  shift: u32,
  threshold: u32,
}

fn count(value: f32, id: u32, counted: Pass, ranking: Ranking, weighing: Weighing) {
  var bin = BINS;
  if (counted.by_distance) {
    bin = distance_bin(value, ranking);
  } else if (is_candidate(value)) {
    bin = (rank(value, id, ranking) ^ counted.threshold) >> counted.shift;
  }
  if (bin < BINS) {
    atomicAdd(&bins[bin], weight(value, weighing));
  }
}

fn fill_bins(n: u32, counted: Pass, ranking: Ranking, weighing: Weighing, lane: Lane) {
  for (var bin = lane.index; bin < BINS; bin += WORKGROUP_SIZE) {
    atomicStore(&bins[bin], 0u);
  }
  workgroupBarrier();
  if (n == IN_ROW) {
    for (var first = lane.index; first < immediates.n_vocab; first += EACH * WORKGROUP_SIZE) {
      load_logits(first, WORKGROUP_SIZE);
      //@repeat I EACH
      if (first + $Iu * WORKGROUP_SIZE < immediates.n_vocab) {
        count(logit_$I, first + $Iu * WORKGROUP_SIZE, counted, ranking, weighing);
      }
      //@end
    }
  } else {
    for (var i = lane.index; i < n; i += WORKGROUP_SIZE) {
      count(list_logits[i], list_ids[i], counted, ranking, weighing);
    }
  }
  workgroupBarrier();
}

fn add_to_list(value: f32, id: u32) {
  if (atomicLoad(&list_end) <= LIST_MAX) {
    let at = atomicAdd(&list_end, 1u);
    if (at < LIST_MAX) {
      list_logits[at] = value;
      list_ids[at] = id;
    }
  }
}

// Some candidates of a row, first and last of each included.
struct Part {
  ids: vec2<u32>,
  bins: vec2<u32>,  // of distance
}

// Lists them and gives their number, or IN_ROW where not all of them have room.
fn list_part(part: Part, ranking: Ranking, lane: Lane) -> u32 {
  if (lane.index == 0u) {
    atomicStore(&list_end, 0u);
  }
  workgroupBarrier();
  for (var first = part.ids.x + lane.index; first <= part.ids.y; first += EACH * WORKGROUP_SIZE) {
    load_logits(first, WORKGROUP_SIZE);
    //@repeat I EACH
    if (first + $Iu * WORKGROUP_SIZE <= part.ids.y) {
      let bin = distance_bin(logit_$I, ranking);
      if (bin >= part.bins.x && bin <= part.bins.y) {
        add_to_list(logit_$I, first + $Iu * WORKGROUP_SIZE);
      }
    }
    //@end
  }
  workgroupBarrier();
  if (lane.index == 0u) {
    let n = atomicLoad(&list_end);
    n_fitting = select(IN_ROW, n, n <= LIST_MAX);
  }
  return workgroupUniformLoad(&n_fitting);
}

// The highest rank from which on the candidates weigh at least `wanted`, at least 1, goes to `threshold`: a byte a pass, from
// `bits` down, what is above being 1 in every rank. Where all of them weigh less, the lowest.
// In a row a pass by distances comes first: if the candidates up to the bin of the cut have room in the list, it takes the
// row's place for good; if only those in that bin have, it does so here. Gives the new n.
fn cut_at(n: u32, wanted: u32, bits: u32, ranking: Ranking, weighing: Weighing, lane: Lane) -> u32 {
  var n_here = n;
  var n_after = n;
  var missing = wanted;
  threshold = select(0u, 0xffffffffu << (bits % 32u), bits < 32u);
  for (var shift = select(bits, bits + 8u, n == IN_ROW); shift > 0u;) {
    shift -= 8u;
    fill_bins(n_here, Pass(shift == bits, shift, threshold), ranking, weighing, lane);
    let found = find_bin(missing, lane);
    if (shift < bits) {
      threshold |= found.index << shift;
      missing -= found.above;
      continue;
    }
    var part = Part(vec2(0u, immediates.n_vocab - 1u), vec2(found.index, BINS - 1u));
    for (var try_index = 0u; found.reached && n_here == IN_ROW && try_index < 2u; try_index++) {
      n_here = list_part(part, ranking, lane);
      if (try_index == 0u) {
        n_after = n_here;
      } else if (n_here != IN_ROW) {
        missing -= found.above;
      }
      part.bins.y = found.index;
    }
  }
  return n_after;
}

// The lowest and the highest logit, as keys.
fn span_of(value: f32, ranking: Ranking, span: vec2<u32>) -> vec2<u32> {
  if (is_candidate(value) && rank(value, 0u, ranking) >= threshold) {
    return vec2(min(span.x, order_key(value)), max(span.y, order_key(value)));
  }
  return span;
}

// Of the candidates whose rank is at least the threshold; x > y where there are none.
fn span_above(n: u32, ranking: Ranking, lane: Lane) -> vec2<u32> {
  var span = vec2(0xffffffffu, 0u);
  if (n == IN_ROW) {
    for (var first = lane.index; first < immediates.n_vocab; first += EACH * WORKGROUP_SIZE) {
      load_logits(first, WORKGROUP_SIZE);
      //@repeat I EACH
      if (first + $Iu * WORKGROUP_SIZE < immediates.n_vocab) {
        span = span_of(logit_$I, ranking, span);
      }
      //@end
    }
  } else {
    for (var i = lane.index; i < n; i += WORKGROUP_SIZE) {
      span = span_of(list_logits[i], ranking, span);
    }
  }
  if (lane.index == 0u) {
    atomicStore(&sums[0], 0xffffffffu);
    atomicStore(&sums[1], 0u);
  }
  workgroupBarrier();
  if (span.x <= span.y) {
    atomicMin(&sums[0], span.x);
    atomicMax(&sums[1], span.y);
  }
  workgroupBarrier();
  span = vec2(atomicLoad(&sums[0]), atomicLoad(&sums[1]));
  workgroupBarrier();
  return span;
}
