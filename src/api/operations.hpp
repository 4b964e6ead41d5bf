// What takes longer than a request: started, followed, cancelled, kept. One target has one operation at a time.
#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>

#include "api/access.hpp"
#include "api/backend.hpp"
#include "api/database.hpp"
#include "api/events.hpp"
#include "api/workers.hpp"

namespace nagaya::api {

class Operations {
 public:
  /// Does the work. A problem of status 409 … tells why it failed.
  using Work = std::function<Answer<>(Task&)>;
  struct Wanted {
    std::string kind;    ///< "start", "pull" …
    std::string target;  ///< "web"
    std::string key;     ///< what is busy meanwhile: "domain web"
    std::string project{};
    bool cancellable = false;
    bool beside = false;  ///< may run beside another operation of its target (kill), but not beside its own like
  };

  /// Those that were under way when the server ended are failed ones from now on.
  static Result<std::unique_ptr<Operations>> open(Database& database, Events& events, unsigned threads = 16);
  ~Operations();

  /// Gives the Operation. Status 409: its target is busy; 429: too many operations.
  Answer<Json> start(Wanted wanted, Work work);
  /// Keeps a target for a short change that is no operation; 409 as above. It is free again when the holder goes.
  Answer<std::shared_ptr<void>> hold(const std::string& key);

  /// Newest first, those of projects the caller sees.
  [[nodiscard]] Json list(const Caller& caller) const;
  /// 404: there is none, or it is none of the caller's.
  [[nodiscard]] Answer<Json> get(const std::string& id, const Caller& caller) const;
  Answer<Json> cancel(const std::string& id, const Caller& caller);
  [[nodiscard]] std::size_t running() const;

  /// Takes no more, asks all to stop and waits so long for them.
  void shut_down(std::chrono::milliseconds patience);

 private:
  struct Record;
  class Handle;
  Operations(Database& database, Events& events, unsigned threads);
  static Json shown(const Record& record);
  Answer<> occupy(const std::string& key, bool beside, const std::string& by);
  void release(const std::string& key, const std::string& by);
  void finish(const std::shared_ptr<Record>& record, const Answer<>& outcome);
  [[nodiscard]] Answer<std::shared_ptr<Record>> find(const std::string& id, const Caller& caller) const;
  void tell(const Record& record);

  Database& database_;
  Events& events_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::map<i64, std::shared_ptr<Record>> records_;             // guarded by mutex_, as are the records' fields
  std::map<std::string, std::set<std::string>> busy_;          // guarded by mutex_; by key: ids of what holds it
  bool closed_ = false;                                        // guarded by mutex_
  i64 holders_ = 0;                                            // guarded by mutex_
  std::unique_ptr<Workers> workers_;                           // last: its threads use the above
};

}  // namespace nagaya::api
