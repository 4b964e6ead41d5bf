#include "machine/char_ends.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "machine/escape_key.hpp"

namespace nagaya::machine {

using Type = proto::CharConfig::Type;

Result<std::unique_ptr<OpenEnds>> OpenEnds::open(host::EventLoop& loop, const proto::VmConfig& config,
                                                 std::function<void()> on_escape) {
  auto out = std::unique_ptr<OpenEnds>(new OpenEnds);
  for (std::size_t i = 0; i < config.serial.size() && i < out->ends_.serial.size(); ++i) {
    TRY_ASSIGN(out->ends_.serial[i], out->open_one(loop, config.serial[i], on_escape));
    if (const auto type = config.serial[i].type; type == Type::pty || type == Type::socket) {
      out->places_.push_back(fmt::format("serial{} is at {}", i, out->ends_.serial[i]->where()));
    }
  }
  if (config.debug_console) {
    TRY_ASSIGN(out->ends_.debug_console, out->open_one(loop, *config.debug_console, on_escape));
  }
  for (std::size_t i = 0; i < config.consoles.size(); ++i) {
    const proto::CharConfig& where = config.consoles[i].where;
    TRY_ASSIGN(devices::CharBackend* end, out->open_one(loop, where, on_escape));
    out->ends_.consoles.push_back(end);
    if (where.type == Type::pty || where.type == Type::socket) out->places_.push_back(fmt::format("console{} is at {}", i, end->where()));
    if (where.type == Type::stdio && out->raw()) out->ends_.terminal_port = static_cast<unsigned>(i);
  }
  return out;
}

void OpenEnds::drain() {
  constexpr unsigned patience_ms = 1000;
  for (const auto& backend : backends_) backend->drain(patience_ms);
}

Result<devices::CharBackend*> OpenEnds::open_one(host::EventLoop& loop, const proto::CharConfig& config,
                                                 const std::function<void()>& on_escape) {
  Result<std::unique_ptr<devices::CharBackend>> made;
  switch (config.type) {
    case Type::none: made = devices::null_backend(); break;
    case Type::file: made = devices::file_backend(loop, config.path); break;
    case Type::socket: made = devices::socket_backend(loop, config.path); break;
    case Type::pty: made = devices::pty_backend(loop); break;
    case Type::stdout_only: {
      TRY_ASSIGN(auto out, host::Fd::duplicate(STDOUT_FILENO));
      made = devices::fd_backend(loop, host::Fd(), std::move(out));
      break;
    }
    case Type::stdio:
      made = devices::stdio_backend(loop);
      if (made && host::is_terminal(STDIN_FILENO)) {
        TRY_ASSIGN(auto raw, host::RawTerminal::enter(STDIN_FILENO));
        terminal_.emplace(std::move(raw));
        made = std::make_unique<EscapeKey>(loop, std::move(*made), on_escape);
      }
      break;
  }
  if (!made) return std::unexpected(std::move(made.error()));
  backends_.push_back(std::move(*made));
  return backends_.back().get();
}

}  // namespace nagaya::machine
