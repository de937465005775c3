"""What many machines share through a Redis (or Valkey) server. An extra: `zvt-crypto[redis]`."""
