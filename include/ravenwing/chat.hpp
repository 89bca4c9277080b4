// The plain-text form in which RWKV models are trained to chat.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// "User: ...\n\nAssistant: ...", as RWKV7-G1x-templates of RWKV-LM has it, and as older World models know it.
enum class ChatTemplate { world, g1 };

/// How much the model is asked to think before it answers.
enum class Think {
  off,
  fake,    // an empty thought, which keeps a reasoning model from thinking
  on,      // a thought of the model's own length
  brief,   // "(think a bit)"
  normal,  // "(think)"
  deep,    // "(think a lot)"
};

/// Throw Error{bad_request} that lists the names there are.
ChatTemplate chat_template_of(std::string_view name);
Think think_of(std::string_view name);

/// A turn's text as it may stand in a chat: line ends as \n, no empty lines, no blanks at the ends. So nothing that a
/// user writes can open a turn of its own.
std::string clean_turn(std::string_view text);

/// "System: TEXT\n\n"; empty for an empty text.
std::string system_turn(std::string_view text);
/// "User: TEXT\n\nAssistant:", without a blank at the end: " <" and many words with it are one token.
std::string user_turn(ChatTemplate form, Think think, std::string_view text);
/// What the answer is made to begin with; no part of the history. Empty where nothing is.
std::string answer_lead(ChatTemplate form, Think think);
/// The answer without its thought: what the history keeps. Empty while the thought has not ended.
std::string without_thought(std::string_view answer);

/// Where an answer ends, besides token 0.
std::vector<std::string> chat_stops();

}  // namespace ravenwing
#pragma GCC visibility pop
