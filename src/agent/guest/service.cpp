#include "agent/guest/service.hpp"

#include <cerrno>

#include "agent/guest/exec.hpp"
#include "agent/guest/files.hpp"
#include "agent/guest/system.hpp"

namespace nagaya::agent::guest {
namespace {

/// A host that says nothing is let go.
constexpr int request_timeout_ms = 30'000;

Result<> refuse(Channel& channel, const Error& error) {
  return channel.send(Kind::failed, encode(Failure{error.code, error.message()}));
}

Result<> answer(Channel& channel, Result<std::vector<std::string>> texts) {
  if (!texts) return refuse(channel, texts.error());
  return channel.send(Kind::accepted, encode(*texts));
}

Result<> answer(Channel& channel, const Result<>& done) {
  if (!done) return refuse(channel, done.error());
  return channel.send(Kind::accepted);
}

Result<> obey(Channel& channel, const Request& request) {
  switch (request.operation) {
    case Operation::ping: return answer(channel, describe_self());
    case Operation::exec: return serve_exec(channel, request.exec);
    case Operation::get_files: return send_files(channel, request.path);
    case Operation::put_files: return receive_files(channel, request.put);
    case Operation::set_time: return answer(channel, set_time(request.time_ns));
    case Operation::addresses: return answer(channel, addresses());
    case Operation::power:
      // The answer first: afterwards there may be nobody to give it.
      TRY(channel.send(Kind::accepted));
      return power(request.power);
  }
  return {};
}

}  // namespace

void serve(Channel& channel) {
  auto frame = channel.receive(request_timeout_ms);
  if (!frame || !*frame || (*frame)->kind != Kind::request) return;
  auto request = decode_request((*frame)->payload);
  if (!request) {
    (void)refuse(channel, request.error());
    return;
  }
  // Errors from here on are about the connection: there is nobody to tell.
  (void)obey(channel, *request);
}

}  // namespace nagaya::agent::guest
