#include "oci/options.hpp"

#include <charconv>
#include <string_view>

namespace nagaya::oci {
namespace {

const Option* find(std::span<const Option> table, std::string_view name) {
  for (const Option& option : table) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

const Option* find(std::span<const Option> table, char letter) {
  for (const Option& option : table) {
    if (option.letter == letter && letter != 0) return &option;
  }
  return nullptr;
}

std::unexpected<Error> unknown(std::string_view word) { return fail("unknown option '" + std::string(word) + "'"); }

}  // namespace

Result<Parsed> Parsed::read(std::span<char* const> words, std::span<const Option> table, bool in_order) {
  Parsed out;
  bool options = true;
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::string_view word = words[at];
    if (options && word == "--") {
      options = false;
      if (in_order) {
        out.rest = at + 1;
        for (++at; at < words.size(); ++at) out.arguments.emplace_back(words[at]);
        return out;
      }
      continue;
    }
    if (!options || word.size() < 2 || word[0] != '-') {
      if (in_order) {
        out.rest = at;
        for (; at < words.size(); ++at) out.arguments.emplace_back(words[at]);
        return out;
      }
      out.arguments.emplace_back(word);
      continue;
    }
    const auto next = [&](std::string_view name) -> Result<std::string> {
      if (at + 1 >= words.size()) return fail("option '" + std::string(name) + "' needs a value");
      return std::string(words[++at]);
    };
    if (word[1] == '-') {
      const std::size_t equals = word.find('=');
      const std::string_view name = word.substr(2, equals == word.npos ? equals : equals - 2);
      const Option* option = find(table, name);
      if (option == nullptr) return unknown(word);
      std::string value;
      if (equals != word.npos) {
        value = word.substr(equals + 1);
        // A switch written as --name=false (Go's way) is not given.
        if (!option->value && value == "false") continue;
      } else if (option->value) {
        TRY_ASSIGN(value, next(word));
      }
      out.found_.emplace_back(option->name, std::move(value));
      continue;
    }
    for (std::size_t i = 1; i < word.size(); ++i) {
      const Option* option = find(table, word[i]);
      if (option == nullptr) return unknown(word);
      if (!option->value) {
        out.found_.emplace_back(option->name, "");
        continue;
      }
      std::string value(word.substr(i + 1));
      if (value.empty()) {
        TRY_ASSIGN(value, next(word));
      } else if (value[0] == '=') {
        value.erase(0, 1);
      }
      out.found_.emplace_back(option->name, std::move(value));
      break;
    }
  }
  out.rest = words.size();
  return out;
}

bool Parsed::has(std::string_view name) const {
  for (const auto& [given, value] : found_) {
    if (given == name) return true;
  }
  return false;
}

std::string Parsed::get(std::string_view name, std::string_view fallback) const {
  for (auto it = found_.rbegin(); it != found_.rend(); ++it) {
    if (it->first == name) return it->second;
  }
  return std::string(fallback);
}

std::vector<std::string> Parsed::all(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [given, value] : found_) {
    if (given == name) out.push_back(value);
  }
  return out;
}

Result<int> Parsed::number(std::string_view name, int fallback) const {
  if (!has(name)) return fallback;
  const std::string text = get(name);
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || value < 0) {
    return fail("'" + text + "' is no number for --" + std::string(name));
  }
  return value;
}

}  // namespace nagaya::oci
