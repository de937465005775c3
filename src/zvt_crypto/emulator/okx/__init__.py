"""OKX's public protocol, spot and linear perpetuals, as a server speaks it."""
