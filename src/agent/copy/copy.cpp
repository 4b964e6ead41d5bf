#include "agent/copy/copy.hpp"

#include "agent/client.hpp"
#include "agent/copy/tar.hpp"
#include "agent/placing.hpp"
#include "agent/walk.hpp"

namespace nagaya::agent {
namespace {

constexpr int last_words_ms = 2000;

/// Warnings come from the other side: no control characters reach a terminal.
void pass_on(const Warn& warn, std::span<const u8> payload) {
  auto text = decode_text(payload);
  if (!text) return;
  for (char& c : *text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
  }
  warn(*text);
}

/// Reads what the guest sends into something that has begin, content and finish.
template <class To>
Result<> receive(Channel& channel, To& to, const std::function<void(Entry&)>& adapt, const Warn& warn) {
  u64 left = 0;  // of the file under way
  while (true) {
    TRY_ASSIGN(const auto frame, channel.receive());
    if (!frame) return fail("the guest's agent", "the connection ended in the middle of the files");
    switch (frame->kind) {
      case Kind::entry: {
        if (left != 0) return fail("the guest's agent", "a file that is cut off");
        TRY_ASSIGN(Entry entry, decode_entry(frame->payload));
        left = entry.type == Entry::Type::file ? entry.size : 0;
        adapt(entry);
        TRY(to.begin(entry));
        break;
      }
      case Kind::content:
        if (frame->payload.size() > left) return fail("the guest's agent", "more content than it told");
        left -= frame->payload.size();
        TRY(to.content(frame->payload));
        break;
      case Kind::warning: pass_on(warn, frame->payload); break;
      case Kind::finished: return to.finish();
      default: return failure_of(*frame);
    }
  }
}

/// Sends what `source` tells, and waits for the guest's verdict.
Result<> send(Channel& channel, const PutRequest& put, const Warn& warn, const std::function<Result<>(const TreeSink&)>& source) {
  TRY(ask(channel, {.operation = Operation::put_files, .put = put}));
  bool gone = false;
  auto told = source([&](Kind kind, std::span<const u8> payload) -> Result<> {
    if (kind == Kind::warning) {
      pass_on(warn, payload);
      return {};
    }
    auto sent = channel.send(kind, payload);
    gone = !sent;
    return sent;
  });
  if (told) {
    told = channel.send(Kind::finished);
    gone = !told;
  }
  if (!told && !gone) return told;  // our own side failed: the guest sees the connection end
  // A guest that cannot go on says why before it goes.
  auto verdict = channel.receive(gone ? last_words_ms : -1);
  if (verdict && *verdict) {
    if ((*verdict)->kind == Kind::finished) return {};
    return failure_of(**verdict);
  }
  if (!told) return told;
  if (!verdict) return std::unexpected(std::move(verdict.error()));
  return fail("the guest's agent", "the connection ended before the files were written");
}

}  // namespace

Result<> copy_out(Channel& channel, const std::string& from, const std::string& to, const Warn& warn) {
  TRY_ASSIGN(Placing placing, Placing::at(to, name_in(from)));
  TRY(ask(channel, {.operation = Operation::get_files, .path = from}));
  // A guest's set-user-id program shall be none here.
  return receive(channel, placing, [](Entry& entry) { entry.mode &= 0777; }, warn);
}

Result<> copy_out_tar(Channel& channel, const std::string& from, int fd, const Warn& warn) {
  TRY(ask(channel, {.operation = Operation::get_files, .path = from}));
  TRY_ASSIGN(TarWriter tar, TarWriter::to(fd));
  const std::string name = name_in(from);
  return receive(channel, tar, [&](Entry& entry) { entry.path = name.empty() || entry.path.empty() ? name + entry.path : name + "/" + entry.path; }, warn);
}

Result<> copy_in(Channel& channel, const std::string& from, const std::string& to, const Warn& warn) {
  TRY_ASSIGN(const TreeRoot root, open_tree(from));
  return send(channel, {.path = to, .name = name_in(from)}, warn, [&](const TreeSink& sink) { return walk_tree(root, sink); });
}

Result<> copy_in_tar(Channel& channel, int fd, const std::string& to, const Warn& warn) {
  return send(channel, {.path = to}, warn, [&](const TreeSink& sink) { return read_tar(fd, sink); });
}

}  // namespace nagaya::agent
