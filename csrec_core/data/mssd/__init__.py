"""Spotify's Music Streaming Sessions Dataset: its files in, partitioned logs of the project's shape out.

Brost, Mehrotra and Jehan (2019), "The Music Streaming Sessions Dataset" (WWW): 160 million sessions of 10 to
20 tracks, cut from listening histories. The data cannot be shipped; `simulate` writes files like them.
"""
