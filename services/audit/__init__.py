"""Proof: Merkle trees over both logs, signed checkpoints, tiles, proofs, exports, verification."""
