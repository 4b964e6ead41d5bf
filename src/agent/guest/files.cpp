#include "agent/guest/files.hpp"

#include "agent/placing.hpp"
#include "agent/walk.hpp"

namespace nagaya::agent::guest {
namespace {

Result<> receive(Channel& channel, const PutRequest& request) {
  TRY_ASSIGN(Placing placing, Placing::at(request.path, request.name));
  TRY(channel.send(Kind::accepted));
  while (true) {
    TRY_ASSIGN(const auto frame, channel.receive());
    if (!frame) return fail("the host has gone");
    if (frame->kind == Kind::entry) {
      TRY_ASSIGN(const Entry entry, decode_entry(frame->payload));
      TRY(placing.begin(entry));
    } else if (frame->kind == Kind::content) {
      TRY(placing.content(frame->payload));
    } else if (frame->kind == Kind::finished) {
      return placing.finish();
    } else {
      return fail("a frame that has no place here");
    }
  }
}

Result<> tell(Channel& channel, const Error& error) { return channel.send(Kind::failed, encode(Failure{error.code, "in the guest: " + error.message()})); }

}  // namespace

Result<> send_files(Channel& channel, const std::string& path) {
  auto root = open_tree(path);
  if (!root) return tell(channel, root.error());
  TRY(channel.send(Kind::accepted));
  TRY(walk_tree(*root, [&](Kind kind, std::span<const u8> payload) { return channel.send(kind, payload); }));
  return channel.send(Kind::finished);
}

Result<> receive_files(Channel& channel, const PutRequest& request) {
  if (auto done = receive(channel, request); !done) return tell(channel, done.error());
  return channel.send(Kind::finished);
}

}  // namespace nagaya::agent::guest
