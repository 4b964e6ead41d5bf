// `nagaya serve` over the fake back end.
#include "api/http/program.hpp"
#include "fake_backend.hpp"

int main(int argc, char** argv) {
  using namespace nagaya;
  return api::run_server_program(argc, argv, []() -> Result<std::unique_ptr<api::Backend>> { return std::make_unique<api::test::FakeBackend>(); });
}
