// A back end whose domains exist in memory only: for tests of the server, and to look at the web console without a host.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>

#include "api/backend.hpp"

namespace nagaya::api::test {

class FakeBackend final : public Backend, private Domains, private Inside, private Objects {
 public:
  FakeBackend();
  Domains& domains() override { return *this; }
  Inside& inside() override { return *this; }
  Objects& objects() override { return *this; }
  Result<Json> info() override;
  void watch(EventSink sink) override;
  void unwatch() override;

 private:
  struct Fake {
    Json definition;
    std::string state = "created", id, created, started, finished;
    int exit_code = 0;
    u64 starts = 0;
    std::string log;
    std::chrono::steady_clock::time_point since{};
  };
  Result<Json> list() override;
  Result<Json> get(const std::string& name) override;
  Result<std::string> project(const std::string& name) override;
  Result<std::string> fresh_name(const Json& definition) override;
  Result<> create(const Json& definition, Task& task) override;
  Result<> update(const std::string& name, const Json& update) override;
  Result<Json> plan(const Json& document) override;
  Result<> apply(const Json& document, const ApplyFlags& flags, Task& task) override;
  Result<> remove(const std::string& name, bool force, Task& task) override;
  Result<> act(const std::string& name, Verb verb, const Json& action, Task& task) override;
  Result<Json> stats(const std::string& name) override;
  Result<std::optional<int>> ended(const std::string& name) override;

  Result<Json> processes(const std::string& name) override;
  Result<ByteStream> logs(const std::string& name, const LogOptions& options) override;
  Result<Terminal> console(const std::string& name) override;
  Result<Terminal> exec(const std::string& name, const Json& exec) override;
  Result<Json> run(const std::string& name, const Json& exec, std::stop_token stop) override;
  Result<ByteStream> get_files(const std::string& name, const std::string& path) override;
  Result<> put_files(const std::string& name, const std::string& path, int tar) override;

  Result<Json> images() override;
  Result<> pull(const std::string& reference, Task& task) override;
  Result<> remove_image(const std::string& reference) override;
  Result<Json> networks() override;
  Result<Json> create_network(const Json& network) override;
  Result<> remove_network(const std::string& name) override;
  Result<Json> volumes() override;
  Result<Json> create_volume(const Json& volume) override;
  Result<> remove_volume(const std::string& name) override;
  Result<Json> put(const Json& document, bool dry_run) override;

  Json shown(const std::string& name, const Fake& fake) const;
  Result<Fake*> find(const std::string& name);
  void tell(const std::string& kind, const std::string& name, const Fake& fake);
  Result<> running(const std::string& name);

  std::mutex mutex_;
  std::map<std::string, Fake> fakes_;        // guarded by mutex_, as is the rest
  std::map<std::string, Json> images_, networks_, volumes_;
  std::map<std::string, std::string> files_;  // by domain: the tar it was given last
  unsigned made_ = 0;
  std::mutex sink_mutex_;
  EventSink sink_;
};

}  // namespace nagaya::api::test
