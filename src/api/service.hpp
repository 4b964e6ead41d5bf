// The API without a network: from the head of a request to a call that may be made, and from the call to the answer.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <variant>

#include "api/core.hpp"
#include "api/gate.hpp"
#include "api/router.hpp"
#include "api/static_files.hpp"

namespace nagaya::api {

struct ServiceOptions {
  GateOptions gate{};
  bool open_metrics = false;        ///< /metrics for everyone
  u64 most_body = 2 * MiB;          ///< of a JSON body
};

class Service {
 public:
  /// Error: the document and the handlers do not fit together.
  static Result<std::unique_ptr<Service>> create(Core core, ServiceOptions options, StaticFiles files);

  /// Does not block: an answer at once (a refusal, a file), or a call.
  [[nodiscard]] std::variant<Reply, Call> begin(const Head& head, const Peer& peer);
  /// May block. Never throws.
  [[nodiscard]] Reply finish(Call& call, std::string_view body);
  [[nodiscard]] Core& core() { return core_; }

 private:
  Service(Core core, ServiceOptions options, StaticFiles files);
  [[nodiscard]] std::optional<Reply> fixed_page(const Head& head, const Target& target) const;
  [[nodiscard]] Answer<Call> admit(const Head& head, const Peer& peer, const Target& target, Headers& extra);
  [[nodiscard]] Answer<> admit_body(const Head& head, Call& call) const;
  [[nodiscard]] Answer<Json> parameters(const Route& route, const Target& target) const;
  [[nodiscard]] Answer<Reply> act(Call& call, std::string_view body);
  [[nodiscard]] Answer<> may_touch(Call& call);

  Core core_;
  ServiceOptions options_;
  StaticFiles files_;
  Router router_;
  Gate gate_;
  std::map<std::string, Handler, std::less<>> handlers_;
  std::string document_json_;
};

}  // namespace nagaya::api
