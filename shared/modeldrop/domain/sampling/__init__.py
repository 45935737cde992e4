"""The bottom-k sample of what models answered, and of the labels that follow (ADR 7).

- ``hashing``: a prediction's place in every sample, from its id alone;
- ``payload``: what is kept of a prediction or a label, in its one canonical encoding;
- ``rows``: one sampled event, and what two tellings of the same event become;
- ``shards``: the rows with the smallest hashes, spread over documents; which hashes are no longer needed;
- ``packing``: a shard as bytes;
- ``window_sample``: the sample of a window, of many windows, and the number of events behind it;
- ``labels``: predictions with their labels;
- ``windows``: the window an event belongs to;
- ``prediction_time``: the time a prediction's id carries.
"""
