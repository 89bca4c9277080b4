// A text of a little over 512 tokens in every vocabulary at hand, for `bench`: its score tells whether numbers changed.
#pragma once

#include <string_view>

namespace ravenwing::apps {

inline constexpr std::string_view kBenchText =
    "The harbour lay quiet that morning, and the fog had not yet lifted from the water. Old Marten, who had kept the "
    "light "
    "for more than thirty years, came down the narrow stairs with a lantern in one hand and a loaf of bread in the "
    "other. "
    "He was not a man of many words. When the children of the village asked him what he saw at night from the top of "
    "the "
    "tower, he would only say that he saw the sea, and that the sea was never the same twice.\n"
    "\n"
    "On this day, however, something was different. A small boat without a sail had drifted against the stones below "
    "the "
    "house, and in it sat a large black bird that looked at him as if it had been waiting for a long time. It did not "
    "fly "
    "away when he came near. Around its leg somebody had tied a piece of paper, folded many times and wet with salt.\n"
    "\n"
    "Marten sat down on the wall, broke off a corner of the bread and held it out. The bird took it without haste, and "
    "then "
    "it lifted its leg so that he could reach the string. He unfolded the paper with care. There was a map on it, "
    "drawn in "
    "brown ink, of an island that he had never seen on any chart, and under the map there were three lines of writing "
    "in a "
    "hand that he knew very well, because it was his own.\n"
    "\n"
    "He read the lines again and again until the sun stood high above the hills. Then he went back to the house, "
    "packed a "
    "coat, a knife and a bottle of water, and left the key under the third stone by the door, where his sister would "
    "find "
    "it. \"Well,\" he said to the bird, \"if I wrote it, I suppose that I must have had a reason.\" The bird shook its "
    "feathers and walked ahead of him to the boat, as a dog walks ahead of its master on a road that both of them "
    "know.\n"
    "\n"
    "They were seen for the last time by a fisherman, about two miles from the shore. He told everybody that the old "
    "man was "
    "rowing and that the raven stood in the bow like a captain. In the evening the light in the tower was lit as "
    "always, "
    "although nobody was there to light it, and it has not missed a single night since then. The people of the village "
    "do "
    "not speak about it much. But in autumn, when the wind comes from the north and the fog is thick, some of them "
    "leave a "
    "piece of bread on the wall, and in the morning it is always gone.\n"
    "\n"
    "My grandmother, who told me this story, was the sister in it. She kept the key on a nail beside the kitchen door "
    "for the "
    "rest of her life. When I asked her whether she believed that he would ever come back, she put down her knitting, "
    "looked "
    "out of the window for a while, and said that he had already done so, only not yet.\n";

}  // namespace ravenwing::apps
