// Bearer tokens: who may call from afar. A secret is told once, when it is made; kept is a salted hash.
#pragma once
#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "api/access.hpp"
#include "api/database.hpp"

namespace nagaya::api {

class Tokens {
 public:
  /// Reads them all; `database` outlives this.
  static Result<std::unique_ptr<Tokens>> open(Database& database);

  /// Token of each, without secrets.
  [[nodiscard]] Json list() const;
  /// NewToken to Token with its secret. Status 409: the name is taken.
  Answer<Json> create(const Json& request);
  /// Status 404.
  Answer<> remove(const std::string& name);

  /// Who shows this secret, if it is right and has not expired. Takes the same time for a wrong secret as for a right one.
  [[nodiscard]] std::optional<Caller> check(std::string_view secret) const;
  /// Who has a client certificate of this name (its token's name).
  [[nodiscard]] std::optional<Caller> named(const std::string& name) const;
  /// The caller as it is now: an operation asks before it acts. Nothing: its token was withdrawn or has expired.
  [[nodiscard]] std::optional<Caller> renewed(const Caller& caller) const;

 private:
  explicit Tokens(Database& database) : database_(database) {}
  struct Token {
    std::string id, salt, hash;
    Caller caller;
    std::string created;
    i64 expires = 0;  // seconds since 1970; 0: never
  };
  static Json shown(const Token& token);
  Database& database_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, Token> by_name_;         // guarded by mutex_
  std::map<std::string, std::string> name_of_;   // by id; guarded by mutex_
};

}  // namespace nagaya::api
